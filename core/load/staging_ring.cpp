#include "core/load/staging_ring.h"

#include <utility>

namespace hfload {

StagingRing::StagingRing(std::span<std::byte> memory, uint32_t slots,
                         std::function<void(uint32_t)> wait_until_copied)
    : memory_(memory), slot_bytes_(memory.size() / slots), wait_until_copied_(std::move(wait_until_copied)) {
  for (uint32_t index = slots; index > 0; --index) free_.push_back(index - 1);
}

StagingSlot StagingRing::acquire() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return failure_ || !free_.empty() || !in_flight_.empty(); });
  if (failure_) std::rethrow_exception(failure_);
  uint32_t index = 0;
  if (!free_.empty()) {
    index = free_.back();
    free_.pop_back();
  } else {
    index = in_flight_.front();
    in_flight_.pop_front();
    lock.unlock();
    wait_for(index);
  }
  return {memory_.subspan(index * slot_bytes_, slot_bytes_), index};
}

void StagingRing::submitted(uint32_t index) {
  {
    const std::lock_guard lock(mutex_);
    in_flight_.push_back(index);
  }
  changed_.notify_one();
}

void StagingRing::release(uint32_t index) {
  {
    const std::lock_guard lock(mutex_);
    free_.push_back(index);
  }
  changed_.notify_one();
}

void StagingRing::drain() {
  while (true) {
    std::unique_lock lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
    if (in_flight_.empty()) return;
    const uint32_t index = in_flight_.front();
    in_flight_.pop_front();
    lock.unlock();
    wait_for(index);
    release(index);
  }
}

void StagingRing::fail(std::exception_ptr failure) {
  {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::move(failure);
  }
  changed_.notify_all();
}

void StagingRing::wait_for(uint32_t index) {
  try {
    wait_until_copied_(index);
  } catch (...) {
    fail(std::current_exception());
    throw;
  }
}

}  // namespace hfload
