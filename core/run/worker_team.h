#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace hfload {

/// Threads that stay, for work of a few microseconds, for which starting threads would take longer than it
/// does itself. Between two runs they spin for some microseconds, then sleep.
class WorkerTeam {
 public:
  /// `threads`: 1 or more, the calling thread among them. Throws Error(io_error) where the operating system
  /// refuses a thread.
  explicit WorkerTeam(unsigned threads);
  WorkerTeam(const WorkerTeam&) = delete;
  WorkerTeam& operator=(const WorkerTeam&) = delete;
  ~WorkerTeam();

  unsigned threads() const { return static_cast<unsigned>(threads_.size()) + 1; }

  /// Calls `work(index)` once on each thread and waits for all. `work` must not throw. One run at a time.
  void run(const std::function<void(unsigned)>& work);

  /// Divides 0 to `count` into a contiguous range for each thread, of whole `unit`s but the last.
  void run_ranges(int64_t count, int64_t unit, const std::function<void(int64_t begin, int64_t end)>& work);

 private:
  void serve(unsigned index) noexcept;
  void stop() noexcept;

  std::atomic<uint32_t> run_{0};      ///< counts up; the threads wait for its change
  std::atomic<uint32_t> working_{0};  ///< threads that have not finished the current run
  std::atomic<bool> stopping_{false};
  const std::function<void(unsigned)>* work_ = nullptr;
  std::vector<std::thread> threads_;
};

}  // namespace hfload
