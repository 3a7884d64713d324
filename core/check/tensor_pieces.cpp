#include "core/check/tensor_pieces.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "core/base/checked.h"
#include "core/base/interrupted.h"
#include "core/base/workers.h"

namespace hfload {

unsigned threads_of_run(const CheckRun& run) {
  constexpr unsigned kMostThreads = 16;
  return run.threads != 0 ? run.threads : std::clamp(std::thread::hardware_concurrency(), 1U, kMostThreads);
}

std::vector<TensorPiece> cut_into_pieces(size_t tensors, const std::function<uint64_t(size_t)>& bytes_of) {
  constexpr uint64_t kSmallest = 4 << 20, kMostPieces = 1 << 15;
  uint64_t total = 0;
  for (size_t i = 0; i < tensors; ++i) total += bytes_of(i);
  const uint64_t size = align_up(std::max(kSmallest, total / kMostPieces), kSmallest);
  std::vector<TensorPiece> pieces;
  for (uint32_t i = 0; i < tensors; ++i) {
    const uint64_t bytes = bytes_of(i);
    for (uint64_t at = 0; at < bytes; at += size) pieces.push_back({i, at, std::min(size, bytes - at)});
  }
  return pieces;
}

void run_pieces(const std::vector<TensorPiece>& pieces, const CheckRun& run,
                const std::function<void(size_t index, unsigned worker)>& work) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kBetweenReports{100};
  const Clock::time_point begin = Clock::now();
  ConvertProgress progress;
  for (const TensorPiece& piece : pieces) progress.total_bytes += piece.bytes;
  std::atomic<size_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  Clock::time_point next_report = begin + kBetweenReports;
  run_workers(threads_of_run(run), [&](unsigned worker) {
    try {
      for (size_t i = next++; i < pieces.size() && !stop; i = next++) {
        if (run.interrupted && run.interrupted()) throw Interrupted();
        work(i, worker);
        if (!run.progress) continue;
        const std::lock_guard lock(mutex);
        progress.done_bytes += pieces[i].bytes;
        const Clock::time_point now = Clock::now();
        if (now < next_report && progress.done_bytes < progress.total_bytes) continue;
        next_report = now + kBetweenReports;
        progress.seconds = std::chrono::duration<double>(now - begin).count();
        run.progress(progress);
      }
    } catch (...) {
      stop = true;
      throw;
    }
  });
}

}  // namespace hfload
