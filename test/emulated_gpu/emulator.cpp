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

}  // namespace

Emulator& Emulator::current() {
  static Emulator emulator;
  return emulator;
}

void Emulator::run(int64_t blocks, uint32_t threads, int64_t shared_bytes,
                   const std::function<void()>& body) {
  blocks_ = static_cast<uint32_t>(blocks);
  threads_ = threads;
  slots_ = std::make_unique<uint32_t[][8]>(2 * threads);
  for (block_ = 0; block_ < blocks_; ++block_) {
    // NaN, whatever it is read as: what was not written shows.
    shared_.assign(kSharedBase + static_cast<size_t>(shared_bytes) + kGuardBytes, 0xff);
    std::fill(shared_.end() - kGuardBytes, shared_.end(), kGuard);
    run_block(body);
    if (!std::all_of(shared_.end() - kGuardBytes, shared_.end(),
                     [](unsigned char c) { return c == kGuard; })) {
      throw std::runtime_error("a kernel wrote past its shared memory");
    }
  }
}

void Emulator::enter() {
  Emulator& self = current();
  (*self.body_)();
  self.fibers_[self.thread_].done = true;
  ++self.progress_;
  swapcontext(&self.fibers_[self.thread_].context, &self.scheduler_);
}

void Emulator::run_block(const std::function<void()>& body) {
  body_ = &body;
  block_barrier_ = {};
  warp_barriers_.assign((threads_ + 31) / 32, {});
  barriers_.clear();
  detached_.clear();
  fibers_.resize(std::max<size_t>(fibers_.size(), threads_));
  for (uint32_t i = 0; i < threads_; ++i) {
    Fiber& fiber = fibers_[i];
    if (fiber.stack == nullptr) fiber.stack = std::make_unique<unsigned char[]>(kStackBytes);
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
  std::vector<uint32_t> order(threads_);
  std::iota(order.begin(), order.end(), 0);
  int idle = 0;
  for (size_t done = 0; done < threads_;) {
    // Another warp is first each round; within a warp the order does not matter.
    std::rotate(order.begin(), order.begin() + 32 * (random_() % warp_barriers_.size()), order.end());
    const uint64_t before = progress_;
    done = 0;
    for (const uint32_t i : order) {
      const Fiber& fiber = fibers_[i];
      const bool waits = fiber.waits_for != nullptr && fiber.waits_for->generation == fiber.generation;
      if (!fiber.done && !waits) {
        thread_ = i;
        swapcontext(&scheduler_, &fibers_[i].context);
      }
      done += fibers_[i].done ? 1 : 0;
    }
    run_detached();
    idle = progress_ == before && detached_.empty() ? idle + 1 : 0;
    if (idle > kIdleRounds) throw std::runtime_error("all threads of a block wait");
  }
}

void Emulator::yield() { swapcontext(&fibers_[thread_].context, &scheduler_); }

void Emulator::wait_at(Meeting& meeting, uint32_t threads) {
  const uint32_t generation = meeting.generation;
  if (++meeting.arrived == threads) {
    meeting.arrived = 0;
    ++meeting.generation;
    ++progress_;
    return;
  }
  Fiber& fiber = fibers_[thread_];
  fiber.waits_for = &meeting;
  fiber.generation = generation;
  while (meeting.generation == generation) yield();
  fiber.waits_for = nullptr;
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
  fibers_[thread_].open.push_back(std::move(work));
}

void Emulator::commit() {
  Fiber& fiber = fibers_[thread_];
  fiber.groups.push_back(std::move(fiber.open));
  fiber.open.clear();
}

void Emulator::wait_groups(size_t pending) {
  std::vector<Group>& groups = fibers_[thread_].groups;
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

void Emulator::barrier_arrive(uint32_t address) {
  Mbarrier& barrier = barriers_.at(address);
  if (barrier.pending == 0) throw std::runtime_error("more arrivals than an mbarrier expects");
  --barrier.pending;
  settle(barrier);
}

void Emulator::barrier_complete(uint32_t address, uint32_t bytes) {
  Mbarrier& barrier = barriers_.at(address);
  barrier.bytes -= bytes;
  settle(barrier);
}

void Emulator::barrier_wait(uint32_t address, uint32_t parity) {
  while ((barriers_.at(address).phase & 1) == parity) yield();
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
