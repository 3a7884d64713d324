#include "core/run/worker_team.h"

#include <algorithm>
#include <chrono>
#include <exception>

#include "core/base/error.h"

namespace hfload {
namespace {

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

/// Returns once `value` is no longer `old`: spins first, as work follows upon work within microseconds.
void wait_for_change(const std::atomic<uint32_t>& value, uint32_t old) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::microseconds kSpin{50};
  constexpr int kLooksPerClock = 64;
  const Clock::time_point end = Clock::now() + kSpin;
  do {
    for (int i = 0; i < kLooksPerClock; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      pause();
    }
  } while (Clock::now() < end);
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

WorkerTeam::WorkerTeam(unsigned threads) {
  try {
    for (unsigned index = 1; index < threads; ++index) {
      threads_.emplace_back([this, index] { serve(index); });
    }
  } catch (const std::exception&) {
    stop();
    throw Error(ErrorCode::io_error, "the operating system refused to start a thread")
        .with_hint("Raise the limit on processes (ulimit -u) or use fewer threads.");
  }
}

WorkerTeam::~WorkerTeam() { stop(); }

void WorkerTeam::stop() noexcept {
  stopping_.store(true, std::memory_order_relaxed);
  run_.fetch_add(1, std::memory_order_release);
  run_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void WorkerTeam::serve(unsigned index) noexcept {
  for (uint32_t seen = 0;;) {
    wait_for_change(run_, seen);
    // A run ends only when every thread has taken part, so that none is ever missed.
    ++seen;
    if (stopping_.load(std::memory_order_relaxed)) return;
    (*work_)(index);
    if (working_.fetch_sub(1, std::memory_order_acq_rel) == 1) working_.notify_one();
  }
}

void WorkerTeam::run(const std::function<void(unsigned)>& work) {
  if (threads_.empty()) return work(0);
  work_ = &work;
  working_.store(static_cast<uint32_t>(threads_.size()), std::memory_order_relaxed);
  run_.fetch_add(1, std::memory_order_release);
  run_.notify_all();
  work(0);
  for (uint32_t left = working_.load(std::memory_order_acquire); left != 0;
       left = working_.load(std::memory_order_acquire)) {
    wait_for_change(working_, left);
  }
}

void WorkerTeam::run_ranges(int64_t count, int64_t unit,
                            const std::function<void(int64_t begin, int64_t end)>& work) {
  const int64_t units = (count + unit - 1) / unit;
  const auto parts = static_cast<int64_t>(threads());
  run([&](unsigned index) {
    const int64_t begin = std::min(count, units * index / parts * unit);
    const int64_t end = std::min(count, units * (index + 1) / parts * unit);
    if (begin < end) work(begin, end);
  });
}

}  // namespace hfload
