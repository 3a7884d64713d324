#pragma once

#include <ucontext.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <vector>

namespace hfload::test {

/// Runs a CUDA kernel's blocks on the host: every thread is a fiber, which runs until it waits for others.
/// What the hardware does by itself (cp.async, TMA, wgmma) is done at once or as late as the waits allow, in
/// any order that is allowed, so that a wait that is missing gives wrong results. It follows the PTX ISA and
/// knows nothing of the kernels.
class Emulator {
 public:
  enum class Timing : uint8_t { eager, lazy };
  struct Index {
    uint32_t x;
  };

  static Emulator& current();

  void set_timing(Timing timing) { timing_ = timing; }
  /// Throws std::runtime_error where all threads wait for ever, or something wrote past the shared memory.
  void run(int64_t blocks, uint32_t threads, int64_t shared_bytes, const std::function<void()>& body);

  Index thread_index() const { return {thread_}; }
  Index block_index() const { return {block_}; }
  Index grid_size() const { return {blocks_}; }

  void sync_block() { wait_at(block_barrier_, threads_); }
  void sync_warp() { wait_at(warp_barriers_[thread_ / 32], 32); }
  float exchange(float value, int lanes);

  /// Shared memory begins at an address that is a multiple of 256 only.
  static constexpr uint32_t kSharedBase = 0x500;
  unsigned char* shared() { return shared_.data() + kSharedBase; }
  unsigned char* at(uint32_t address) { return shared_.data() + address; }
  uint32_t address_of(const void* pointer) const {
    return static_cast<uint32_t>(static_cast<const unsigned char*>(pointer) - shared_.data());
  }

  /// 8 words of each lane of this warp, for an instruction of a whole warp: `begin_exchange` first, which
  /// takes the other of two sets, so that one sync_warp between writing and reading is enough.
  void begin_exchange() { fibers_[thread_].slot_set ^= 1; }
  uint32_t (&warp_slot(uint32_t lane))[8] {
    return slots_[fibers_[thread_].slot_set * threads_ + thread_ / 32 * 32 + lane];
  }

  /// cp.async: an operation joins the open group; wgmma: the same.
  void start_async(std::function<void()> work);
  void commit();
  void wait_groups(size_t pending);

  /// The operation completes at any later time, in any order. For TMA.
  void start_detached(std::function<void()> work);

  void barrier_init(uint32_t address, uint32_t arrivals) { barriers_[address] = {arrivals, arrivals, 0, 0}; }
  void barrier_expect(uint32_t address, uint32_t bytes) { barriers_.at(address).bytes += bytes; }
  void barrier_arrive(uint32_t address);
  void barrier_complete(uint32_t address, uint32_t bytes);
  void barrier_wait(uint32_t address, uint32_t parity);

 private:
  struct Meeting {
    uint32_t arrived = 0, generation = 0;
  };
  struct Mbarrier {
    uint32_t expected, pending;
    int64_t bytes;
    uint32_t phase;
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
  void wait_at(Meeting& meeting, uint32_t threads);
  void settle(Mbarrier& barrier);
  void run_block(const std::function<void()>& body);
  void run_detached();

  Timing timing_ = Timing::eager;
  std::mt19937 random_{1};
  uint32_t thread_ = 0, threads_ = 0, block_ = 0, blocks_ = 0;
  uint64_t progress_ = 0;
  const std::function<void()>* body_ = nullptr;
  std::vector<unsigned char> shared_;
  std::vector<Fiber> fibers_;
  ucontext_t scheduler_{};
  Meeting block_barrier_;
  std::vector<Meeting> warp_barriers_;
  std::unique_ptr<uint32_t[][8]> slots_;
  std::map<uint32_t, Mbarrier> barriers_;
  std::vector<std::function<void()>> detached_;
};

}  // namespace hfload::test
