#include "core/load/staging_ring.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <numeric>
#include <stdexcept>
#include <thread>

#include "core/base/workers.h"

namespace hfload::test {
namespace {

using namespace std::chrono_literals;

constexpr uint32_t kSlots = 4;
constexpr size_t kSlotBytes = 64;

/// A device that copies slots on a thread of its own, each after a delay, and fails at one of them if asked
/// to.
class FakeDevice {
 public:
  FakeDevice(size_t bytes, std::chrono::microseconds delay, size_t failing_copy = SIZE_MAX)
      : memory(bytes),
        ring(staging_, kSlots, [this](uint32_t index) { wait(index); }),
        delay_(delay),
        failing_copy_(failing_copy),
        thread_([this] { run(); }) {}

  ~FakeDevice() {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void copy(StagingSlot slot, size_t offset, size_t bytes) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back({slot, offset, bytes});
      state_[slot.index] = State::copying;
      ring.submitted(slot.index);
    }
    changed_.notify_all();
  }

  std::vector<std::byte> memory;

 private:
  enum class State { idle, copying, failed };
  struct Copy {
    StagingSlot slot;
    size_t offset, bytes;
  };

  void wait(uint32_t index) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return state_[index] != State::copying; });
    if (state_[index] == State::failed) throw std::runtime_error("the copy failed");
  }

  void run() {
    for (size_t count = 0;; ++count) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || !queue_.empty(); });
      if (queue_.empty()) return;
      const Copy next = queue_.front();
      queue_.pop_front();
      lock.unlock();
      std::this_thread::sleep_for(delay_);
      if (count != failing_copy_) std::memcpy(&memory[next.offset], next.slot.bytes.data(), next.bytes);
      lock.lock();
      state_[next.slot.index] = count == failing_copy_ ? State::failed : State::idle;
      changed_.notify_all();
    }
  }

  std::vector<std::byte> staging_ = std::vector<std::byte>(kSlots * kSlotBytes);

 public:
  StagingRing ring;

 private:
  std::chrono::microseconds delay_;
  size_t failing_copy_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Copy> queue_;
  State state_[kSlots] = {};
  bool stop_ = false;
  std::thread thread_;
};

std::vector<std::byte> pattern(size_t bytes) {
  std::vector<std::byte> data(bytes);
  for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<std::byte>(i * 2654435761U >> 13);
  return data;
}

/// Sends `source` to the device through the ring, by several threads.
void send(FakeDevice& device, const std::vector<std::byte>& source, unsigned threads) {
  std::atomic<size_t> next{0};
  run_workers(threads, [&](unsigned) {
    while (true) {
      const size_t offset = next.fetch_add(kSlotBytes);
      if (offset >= source.size()) return;
      const size_t bytes = std::min(kSlotBytes, source.size() - offset);
      const StagingSlot slot = device.ring.acquire();
      std::memset(slot.bytes.data(), 0xee, slot.bytes.size());
      std::memcpy(slot.bytes.data(), &source[offset], bytes);
      device.copy(slot, offset, bytes);
    }
  });
  device.ring.drain();
}

TEST_CASE("bytes arrive whatever their number") {
  // Smaller than a slot, equal, larger, smaller than the ring, equal, larger, not dividing.
  for (const size_t bytes : {1UL, 63UL, 64UL, 65UL, 200UL, 256UL, 257UL, 1024UL, 10'001UL}) {
    for (const unsigned threads : {1U, 3U, 8U}) {
      FakeDevice device(bytes, 0us);
      const std::vector<std::byte> source = pattern(bytes);
      send(device, source, threads);
      CHECK((device.memory == source));
    }
  }
}

TEST_CASE("a slow device's slots are not refilled before they are copied") {
  for (const unsigned threads : {1U, 6U}) {
    FakeDevice device(5000, 300us);
    const std::vector<std::byte> source = pattern(5000);
    send(device, source, threads);
    CHECK((device.memory == source));
  }
}

TEST_CASE("a failing copy reaches every thread and nobody waits for ever") {
  for (const size_t failing : {0UL, 7UL}) {
    for (const unsigned threads : {1U, 6U}) {
      FakeDevice device(10'000, 50us, failing);
      CHECK_THROWS_WITH(send(device, pattern(10'000), threads), "the copy failed");
      CHECK_THROWS_WITH(device.ring.acquire(), "the copy failed");
      CHECK_THROWS_WITH(device.ring.drain(), "the copy failed");
    }
  }
}

TEST_CASE("a failing last copy is seen when the ring is drained") {
  FakeDevice device(100, 0us, 1);
  CHECK_THROWS_WITH(send(device, pattern(100), 1), "the copy failed");
}

TEST_CASE("every slot has its own part of the memory") {
  std::vector<std::byte> memory(kSlots * kSlotBytes + 5);
  StagingRing ring(memory, kSlots, [](uint32_t) {});
  CHECK(ring.slot_bytes() == kSlotBytes + 1);
  std::vector<StagingSlot> slots;
  for (uint32_t i = 0; i < kSlots; ++i) slots.push_back(ring.acquire());
  std::sort(slots.begin(), slots.end(), [](const auto& a, const auto& b) { return a.index < b.index; });
  for (uint32_t i = 0; i < kSlots; ++i) {
    CHECK(slots[i].index == i);
    CHECK(slots[i].bytes.size() == ring.slot_bytes());
    CHECK(slots[i].bytes.data() == memory.data() + i * ring.slot_bytes());
  }
}

TEST_CASE("the oldest copy is waited for, each slot's own") {
  std::vector<std::byte> memory(kSlots * kSlotBytes);
  std::vector<uint32_t> waited;
  StagingRing ring(memory, kSlots, [&](uint32_t index) { waited.push_back(index); });
  std::vector<uint32_t> order;
  for (uint32_t i = 0; i < kSlots; ++i) order.push_back(ring.acquire().index);
  std::swap(order[0], order[2]);
  for (const uint32_t index : order) ring.submitted(index);
  CHECK(waited.empty());
  for (const uint32_t index : order) CHECK(ring.acquire().index == index);
  CHECK(waited == order);
}

TEST_CASE("a released slot is handed to a waiting thread") {
  std::vector<std::byte> memory(kSlotBytes);
  StagingRing ring(memory, 1, [](uint32_t) {});
  const StagingSlot slot = ring.acquire();
  std::atomic<bool> acquired{false};
  std::thread other([&] {
    ring.acquire();
    acquired = true;
  });
  std::this_thread::sleep_for(5ms);
  CHECK_FALSE(acquired);
  ring.release(slot.index);
  other.join();
  CHECK(acquired);
}

TEST_CASE("a failure wakes a thread that waits for a slot, and the first failure stays") {
  std::vector<std::byte> memory(kSlotBytes);
  StagingRing ring(memory, 1, [](uint32_t) {});
  ring.acquire();
  std::string message;
  std::thread other([&] {
    try {
      ring.acquire();
    } catch (const std::runtime_error& error) {
      message = error.what();
    }
  });
  std::this_thread::sleep_for(5ms);
  ring.fail(std::make_exception_ptr(std::runtime_error("first")));
  ring.fail(std::make_exception_ptr(std::runtime_error("second")));
  other.join();
  CHECK(message == "first");
  CHECK_THROWS_WITH(ring.drain(), "first");
}

}  // namespace
}  // namespace hfload::test
