#pragma once

#include <ucontext.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace hfload::test {

/// Runs a CUDA kernel's blocks on the host: every thread is a fiber, which runs until it waits for others.
/// What the hardware does by itself (cp.async, TMA, wgmma) is done at once or as late as the waits allow, in
/// any order that is allowed, so that a wait that is missing gives wrong results. The blocks of a cluster run
/// together, one of them now and then not at all for a while; clusters run one after the other. It follows
/// the PTX ISA and knows nothing of the kernels.
class Emulator {
 public:
  enum class Timing : uint8_t { eager, lazy };
  struct Index {
    uint32_t x;
  };

  static Emulator& current();

  void set_timing(Timing timing) { timing_ = timing; }
  /// Throws std::runtime_error where the kernel breaks a rule of the ISA, for instance where all threads wait
  /// for ever, something wrote past the shared memory, or the memory of a block that has ended is used.
  /// `cluster`: blocks of a cluster.
  void run(int64_t blocks, uint32_t threads, int64_t shared_bytes, uint32_t cluster,
           const std::function<void()>& body);

  Index thread_index() const { return {thread_}; }
  Index block_index() const { return {first_block_ + rank_}; }
  Index grid_size() const { return {grid_}; }
  uint32_t cluster_rank() const { return rank_; }

  void sync_block() { wait_at(blocks_[rank_].barrier, threads_); }
  void sync_warp() { wait_at(warp_barriers_[fiber_ / 32], 32); }
  /// barrier.cluster: threads that have ended are not waited for.
  void sync_cluster() { wait_at(cluster_barrier_, running_); }
  float exchange(float value, int lanes);

  /// Shared memory begins at an address that is a multiple of 256 only. An address is a block's own, or one
  /// of the cluster's (`map_to_block`), which only what works on the cluster's memory takes.
  static constexpr uint32_t kSharedBase = 0x500;
  unsigned char* shared() { return blocks_[rank_].shared.data() + kSharedBase; }
  unsigned char* at(uint32_t address) { return at(rank_, address); }
  /// What lies at a block's own `address` in the block of that rank.
  unsigned char* at(uint32_t rank, uint32_t address) { return live(rank, address).shared.data() + address; }
  uint32_t address_of(const void* pointer) const {
    return static_cast<uint32_t>(static_cast<const unsigned char*>(pointer) - blocks_[rank_].shared.data());
  }
  uint32_t map_to_block(uint32_t address, uint32_t rank) const;

  /// 8 words of each lane of this warp, for an instruction of a whole warp: `begin_exchange` first, which
  /// takes the other of two sets, so that one sync_warp between writing and reading is enough.
  void begin_exchange() { fibers_[fiber_].slot_set ^= 1; }
  uint32_t (&warp_slot(uint32_t lane))[8] {
    return slots_[fibers_[fiber_].slot_set * fiber_count() + fiber_ / 32 * 32 + lane];
  }

  /// cp.async: an operation joins the open group; wgmma: the same.
  void start_async(std::function<void()> work);
  void commit();
  void wait_groups(size_t pending);

  /// The operation completes at any later time, in any order. For TMA.
  void start_detached(std::function<void()> work);

  void barrier_init(uint32_t address, uint32_t arrivals);
  void barrier_expect(uint32_t address, uint32_t bytes) { barrier_at(rank_, address).bytes += bytes; }
  void barrier_arrive(uint32_t address) { arrive(barrier_at(rank_, address)); }
  void barrier_arrive_cluster(uint32_t mapped);
  void barrier_complete(uint32_t rank, uint32_t address, uint32_t bytes);
  void barrier_wait(uint32_t address, uint32_t parity);

 private:
  /// Where the rank, plus one, stands in an address of the cluster's shared memory.
  static constexpr uint32_t kRankShift = 24;

  struct Meeting {
    uint32_t arrived = 0, generation = 0;
  };
  struct Mbarrier {
    uint32_t expected, pending;
    int64_t bytes;
    uint32_t phase;
  };
  struct Block {
    std::vector<unsigned char> shared;
    std::map<uint32_t, Mbarrier> barriers;
    Meeting barrier;
    uint32_t running = 0;  ///< threads that have not ended
  };
  using Group = std::vector<std::function<void()>>;
  struct Fiber {
    ucontext_t context;
    std::unique_ptr<unsigned char[]> stack;
    std::vector<Group> groups;
    Group open;
    const Meeting* waits_for = nullptr;
    uint32_t generation = 0;
    uint32_t slot_set = 0;
    bool done = false;
  };

  static void enter();
  void yield();
  void end_thread();
  void wait_at(Meeting& meeting, uint32_t threads);
  void complete(Meeting& meeting);
  void arrive(Mbarrier& barrier);
  void settle(Mbarrier& barrier);
  Block& live(uint32_t rank, uint32_t address) {
    if (rank >= cluster_ || address >> kRankShift != 0 || blocks_[rank].running == 0) refuse(rank, address);
    return blocks_[rank];
  }
  [[noreturn]] void refuse(uint32_t rank, uint32_t address) const;
  Mbarrier& barrier_at(uint32_t rank, uint32_t address);
  uint32_t fiber_count() const { return threads_ * cluster_; }
  void prepare(int64_t shared_bytes);
  void run_cluster();
  void resume(uint32_t fiber);
  void run_detached();

  Timing timing_ = Timing::eager;
  std::mt19937 random_{1};
  uint32_t threads_ = 0, cluster_ = 1, grid_ = 0, first_block_ = 0;
  uint32_t fiber_ = 0, thread_ = 0, rank_ = 0;  ///< what runs: thread_ of the block of that rank
  uint32_t running_ = 0;                        ///< threads of the cluster that have not ended
  uint64_t progress_ = 0;
  const std::function<void()>* body_ = nullptr;
  std::exception_ptr failure_;
  std::vector<Block> blocks_;  ///< of the cluster, by rank
  std::vector<Fiber> fibers_;
  ucontext_t scheduler_{};
  Meeting cluster_barrier_;
  std::vector<Meeting> warp_barriers_;
  std::unique_ptr<uint32_t[][8]> slots_;
  std::vector<std::function<void()>> detached_;
};

}  // namespace hfload::test
