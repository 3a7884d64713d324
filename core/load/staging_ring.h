#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

#include "core/load/backend.h"

namespace hfload {

/// A few slots of memory that go round: filled by a reader, copied by a device, filled again. A slot is
/// handed out again only after its own copy is known to be done, whichever order the copies end in. The ring
/// knows no device; its owner starts the copies and says how to wait for one.
class StagingRing {
 public:
  /// `wait_until_copied(index)` returns when the device no longer needs that slot, and throws when the copy
  /// failed. It is called without a lock, by one thread at a time for each slot.
  StagingRing(std::span<std::byte> memory, uint32_t slots, std::function<void(uint32_t)> wait_until_copied);

  uint64_t slot_bytes() const { return slot_bytes_; }
  /// A slot that nobody uses, waiting for the oldest copy if there is none. Throws the ring's failure.
  StagingSlot acquire();
  /// The slot's copy has been started: it is in flight. Call in the order of the copies.
  void submitted(uint32_t index);
  /// The slot goes back unused.
  void release(uint32_t index);
  /// Waits until nothing is in flight. No slot may be in a reader's hands. Throws the ring's failure.
  void drain();
  /// A copy could not be started or did not end well: from now on acquire and drain throw `failure`. The
  /// first one stays.
  void fail(std::exception_ptr failure);

 private:
  void wait_for(uint32_t index);

  std::span<std::byte> memory_;
  uint64_t slot_bytes_;
  std::function<void(uint32_t)> wait_until_copied_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<uint32_t> free_;
  std::deque<uint32_t> in_flight_;  ///< oldest first
  std::exception_ptr failure_;
};

}  // namespace hfload
