#include "test/emulated_gpu/emulator.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <stdexcept>

#include "test/emulated_gpu/cuda.h"
#include "test/emulated_gpu/cuda_runtime_api.h"
#undef threadIdx
#undef blockIdx
#undef gridDim

namespace hfload::test {
namespace {

constexpr size_t kStackBytes = 256 << 10;
constexpr size_t kGuardBytes = 4096;
constexpr unsigned char kGuard = 0xa5;
constexpr int kIdleRounds = 1000;
constexpr uint32_t kMostStarvedRounds = 64;

}  // namespace

Emulator& Emulator::current() {
  static Emulator emulator;
  return emulator;
}

void Emulator::run(int64_t blocks, uint32_t threads, int64_t shared_bytes, uint32_t cluster,
                   const std::function<void()>& body) {
  if (cluster == 0 || blocks % cluster != 0) throw std::runtime_error("a grid that is not whole clusters");
  grid_ = static_cast<uint32_t>(blocks);
  threads_ = threads;
  cluster_ = cluster;
  body_ = &body;
  slots_ = std::make_unique<uint32_t[][8]>(2 * fiber_count());
  for (first_block_ = 0; first_block_ < grid_; first_block_ += cluster_) {
    prepare(shared_bytes);
    run_cluster();
    if (!detached_.empty()) throw std::runtime_error("a copy was under way when its block ended");
    for (const Block& block : blocks_) {
      if (!std::all_of(block.shared.end() - kGuardBytes, block.shared.end(),
                       [](unsigned char c) { return c == kGuard; })) {
        throw std::runtime_error("a kernel wrote past its shared memory");
      }
    }
  }
}

void Emulator::enter() {
  Emulator& self = current();
  try {
    (*self.body_)();
  } catch (...) {
    self.failure_ = std::current_exception();
  }
  self.end_thread();
  swapcontext(&self.fibers_[self.fiber_].context, &self.scheduler_);
}

void Emulator::end_thread() {
  fibers_[fiber_].done = true;
  ++progress_;
  --blocks_[rank_].running;
  --running_;
  if (cluster_barrier_.arrived > 0 && cluster_barrier_.arrived == running_) complete(cluster_barrier_);
}

void Emulator::prepare(int64_t shared_bytes) {
  blocks_.resize(cluster_);
  for (Block& block : blocks_) {
    // NaN, whatever it is read as: what was not written shows.
    block.shared.assign(kSharedBase + static_cast<size_t>(shared_bytes) + kGuardBytes, 0xff);
    std::fill(block.shared.end() - kGuardBytes, block.shared.end(), kGuard);
    block.barriers.clear();
    block.barrier = {};
    block.running = threads_;
  }
  running_ = fiber_count();
  cluster_barrier_ = {};
  warp_barriers_.assign((fiber_count() + 31) / 32, {});
  detached_.clear();
  failure_ = nullptr;
  fibers_.resize(std::max<size_t>(fibers_.size(), fiber_count()));
  for (uint32_t i = 0; i < fiber_count(); ++i) {
    Fiber& fiber = fibers_[i];
    if (fiber.stack == nullptr) fiber.stack = std::make_unique_for_overwrite<unsigned char[]>(kStackBytes);
    fiber.groups.clear();
    fiber.open.clear();
    fiber.waits_for = nullptr;
    fiber.slot_set = 0;
    fiber.done = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, &Emulator::enter, 0);
  }
}

void Emulator::run_cluster() {
  std::vector<uint32_t> order(fiber_count());
  std::iota(order.begin(), order.end(), 0);
  int idle = 0;
  uint32_t starved = 0, starved_rounds = 0;
  while (running_ > 0) {
    // Another warp is first each round; within a warp the order does not matter.
    std::rotate(order.begin(), order.begin() + 32 * (random_() % warp_barriers_.size()), order.end());
    if (starved_rounds > 0) {
      --starved_rounds;
    } else if (cluster_ > 1 && random_() % 8 == 0) {
      starved = static_cast<uint32_t>(random_() % cluster_);
      starved_rounds = static_cast<uint32_t>(random_() % kMostStarvedRounds);
    }
    const uint64_t before = progress_;
    for (const uint32_t i : order) {
      if (starved_rounds == 0 || i / threads_ != starved) resume(i);
    }
    run_detached();
    idle = progress_ == before && detached_.empty() ? idle + 1 : 0;
    if (idle > kIdleRounds) throw std::runtime_error("all threads of a block wait");
  }
}

void Emulator::resume(uint32_t fiber) {
  Fiber& next = fibers_[fiber];
  const bool waits = next.waits_for != nullptr && next.waits_for->generation == next.generation;
  if (next.done || waits) return;
  fiber_ = fiber;
  thread_ = fiber % threads_;
  rank_ = fiber / threads_;
  swapcontext(&scheduler_, &next.context);
  if (failure_ != nullptr) std::rethrow_exception(failure_);
}

void Emulator::yield() { swapcontext(&fibers_[fiber_].context, &scheduler_); }

void Emulator::wait_at(Meeting& meeting, uint32_t threads) {
  const uint32_t generation = meeting.generation;
  if (++meeting.arrived == threads) return complete(meeting);
  Fiber& fiber = fibers_[fiber_];
  fiber.waits_for = &meeting;
  fiber.generation = generation;
  while (meeting.generation == generation) yield();
  fiber.waits_for = nullptr;
}

void Emulator::complete(Meeting& meeting) {
  meeting.arrived = 0;
  ++meeting.generation;
  ++progress_;
}

float Emulator::exchange(float value, int lanes) {
  const uint32_t lane = thread_ % 32;
  begin_exchange();
  warp_slot(lane)[0] = std::bit_cast<uint32_t>(value);
  sync_warp();
  const uint32_t other = warp_slot(lane ^ static_cast<uint32_t>(lanes))[0];
  return std::bit_cast<float>(other);
}

void Emulator::start_async(std::function<void()> work) {
  if (timing_ == Timing::eager) return work();
  fibers_[fiber_].open.push_back(std::move(work));
}

void Emulator::commit() {
  Fiber& fiber = fibers_[fiber_];
  fiber.groups.push_back(std::move(fiber.open));
  fiber.open.clear();
}

void Emulator::wait_groups(size_t pending) {
  std::vector<Group>& groups = fibers_[fiber_].groups;
  while (groups.size() > pending) {
    for (const auto& work : groups.front()) work();
    groups.erase(groups.begin());
  }
}

void Emulator::start_detached(std::function<void()> work) {
  if (timing_ == Timing::eager) return work();
  detached_.push_back(std::move(work));
}

void Emulator::run_detached() {
  while (!detached_.empty() && random_() % 4 == 0) {
    const size_t which = random_() % detached_.size();
    detached_[which]();
    detached_.erase(detached_.begin() + static_cast<std::ptrdiff_t>(which));
  }
}

void Emulator::settle(Mbarrier& barrier) {
  if (barrier.pending != 0 || barrier.bytes != 0) return;
  barrier.pending = barrier.expected;
  ++barrier.phase;
  ++progress_;
}

void Emulator::arrive(Mbarrier& barrier) {
  if (barrier.pending == 0) throw std::runtime_error("more arrivals than an mbarrier expects");
  --barrier.pending;
  settle(barrier);
  // Others may go on before this thread does its next thing.
  if (timing_ == Timing::lazy) yield();
}

void Emulator::refuse(uint32_t rank, uint32_t address) const {
  if (rank >= cluster_) throw std::runtime_error("a rank that the cluster does not have");
  if (address >> kRankShift != 0) {
    throw std::runtime_error("an address of the cluster where a block's own belongs");
  }
  throw std::runtime_error("the shared memory of a block that has ended");
}

Emulator::Mbarrier& Emulator::barrier_at(uint32_t rank, uint32_t address) {
  const auto found = live(rank, address).barriers.find(address);
  if (found == blocks_[rank].barriers.end()) throw std::runtime_error("an mbarrier that is not initialised");
  return found->second;
}

void Emulator::barrier_init(uint32_t address, uint32_t arrivals) {
  live(rank_, address).barriers[address] = {arrivals, arrivals, 0, 0};
}

uint32_t Emulator::map_to_block(uint32_t address, uint32_t rank) const {
  return address | (rank + 1) << kRankShift;
}

void Emulator::barrier_arrive_cluster(uint32_t mapped) {
  if (mapped >> kRankShift == 0)
    throw std::runtime_error("a block's own address where one of the cluster belongs");
  arrive(barrier_at((mapped >> kRankShift) - 1, mapped & ((1U << kRankShift) - 1)));
}

void Emulator::barrier_complete(uint32_t rank, uint32_t address, uint32_t bytes) {
  Mbarrier& barrier = barrier_at(rank, address);
  barrier.bytes -= bytes;
  settle(barrier);
}

void Emulator::barrier_wait(uint32_t address, uint32_t parity) {
  while ((barrier_at(rank_, address).phase & 1) == parity) yield();
}

}  // namespace hfload::test

CUresult cuTensorMapEncodeTiled(CUtensorMap* map, CUtensorMapDataType, cuuint32_t rank, void* data,
                                const cuuint64_t* sizes, const cuuint64_t* strides, const cuuint32_t* box,
                                const cuuint32_t* steps, int, int swizzle, int, int) {
  if (rank != 3 || reinterpret_cast<uintptr_t>(data) % 16 != 0 || swizzle != CU_TENSOR_MAP_SWIZZLE_128B ||
      box[0] * 2 > 128) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  map->data = static_cast<const unsigned char*>(data);
  for (int i = 0; i < 3; ++i) {
    if (sizes[i] == 0 || sizes[i] > 1ULL << 32 || box[i] == 0 || box[i] > 256 || steps[i] != 1) {
      return CUDA_ERROR_INVALID_VALUE;
    }
    map->sizes[i] = sizes[i];
    map->box[i] = box[i];
  }
  for (int i = 0; i < 2; ++i) {
    if (strides[i] % 16 != 0 || strides[i] >= 1ULL << 40) return CUDA_ERROR_INVALID_VALUE;
    map->strides[i] = strides[i];
  }
  return CUDA_SUCCESS;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** address, unsigned, int,
                                             cudaDriverEntryPointQueryResult* result) {
  *address = reinterpret_cast<void*>(&cuTensorMapEncodeTiled);
  *result = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
