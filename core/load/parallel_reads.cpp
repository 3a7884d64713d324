#include "core/load/parallel_reads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "core/base/error.h"
#include "core/base/workers.h"

namespace hfload {
namespace {

using Clock = std::chrono::steady_clock;

// Most systems let a process have 1024 files open.
constexpr size_t kMaxOpenShards = 128;  // of two descriptors each
constexpr std::chrono::milliseconds kProgressInterval{100};
constexpr unsigned kMaxDefaultThreads = 16;
constexpr uint64_t kMaxRunBytes = 4 << 20;
constexpr uint64_t kRunsPerWorker = 4;  // so that all have something to do, and end at about the same time

/// Counts bytes and tells the caller now and then, from one thread at a time.
class ProgressReporter {
 public:
  ProgressReporter(const LoadOptions& options, uint64_t total_bytes)
      : options_(options), total_bytes_(total_bytes) {}

  void add(uint64_t bytes) {
    done_bytes_.fetch_add(bytes, std::memory_order_relaxed);
    if (!options_.progress) return;
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return;
    const Clock::time_point now = Clock::now();
    if (now - last_report_ < kProgressInterval) return;
    last_report_ = now;
    report(now);
  }

  void finish() {
    if (options_.progress) report(Clock::now());
  }

 private:
  void report(Clock::time_point now) const {
    options_.progress({.done_bytes = done_bytes_.load(std::memory_order_relaxed),
                       .total_bytes = total_bytes_,
                       .seconds = std::chrono::duration<double>(now - begin_).count()});
  }

  const LoadOptions& options_;
  uint64_t total_bytes_;
  std::atomic<uint64_t> done_bytes_{0};
  std::mutex mutex_;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point last_report_ = begin_;
};

using OpenShards = std::unordered_map<uint32_t, OpenShard>;

/// Hands out pieces [begin, end) in their order.
class PieceQueue {
 public:
  PieceQueue(uint64_t begin, uint64_t end, const ParallelReads& reads, unsigned workers)
      : next_(begin), end_(end), reads_(reads) {
    if (!reads.bytes) return;
    uint64_t bytes = 0;
    for (uint64_t piece = begin; piece < end; ++piece) bytes += reads.bytes(piece);
    run_bytes_ = std::min(kMaxRunBytes, bytes / workers / kRunsPerWorker);
  }

  /// The next pieces that one worker should do, as a range; an empty one at the end.
  std::pair<uint64_t, uint64_t> take() {
    const std::lock_guard lock(mutex_);
    const uint64_t begin = next_;
    if (next_ < end_) ++next_;
    if (!reads_.bytes || begin == next_) return {begin, next_};
    for (uint64_t taken = reads_.bytes(begin); next_ < end_; ++next_) {
      taken += reads_.bytes(next_);
      if (taken > run_bytes_) break;
    }
    return {begin, next_};
  }

 private:
  std::mutex mutex_;
  uint64_t next_;
  uint64_t end_;
  const ParallelReads& reads_;
  uint64_t run_bytes_ = 0;
};

/// Pieces [begin, end) on all workers; every shard they need is open.
void run_range(uint64_t begin, uint64_t end, OpenShards& files, const ParallelReads& reads,
               const LoadOptions& options, ProgressReporter& progress) {
  const auto workers = static_cast<unsigned>(std::min<uint64_t>(reader_threads(options), end - begin));
  PieceQueue queue(begin, end, reads, workers);
  std::atomic<bool> stop{false};
  run_workers(workers, [&](unsigned worker) {
    try {
      for (;;) {
        const auto [first, last] = queue.take();
        if (first == last) return;
        for (uint64_t piece = first; piece < last; ++piece) {
          if (stop.load(std::memory_order_relaxed)) return;
          if (options.interrupted && options.interrupted()) throw Interrupted();
          progress.add(reads.work(piece, files.at(reads.shard(piece)), worker));
        }
      }
    } catch (...) {
      stop.store(true, std::memory_order_relaxed);
      throw;
    }
  });
}

}  // namespace

unsigned reader_threads(const LoadOptions& options) {
  if (options.threads != 0) return options.threads;
  return std::clamp(std::thread::hardware_concurrency(), 1U, kMaxDefaultThreads);
}

void run_parallel_reads(const Checkpoint& checkpoint, const ParallelReads& reads,
                        const LoadOptions& options) {
  ProgressReporter progress(options, reads.total_bytes);
  for (uint64_t begin = 0; begin < reads.count;) {
    OpenShards files;
    uint64_t end = begin;
    for (; end < reads.count; ++end) {
      const uint32_t shard = reads.shard(end);
      if (files.contains(shard)) continue;
      if (files.size() == kMaxOpenShards) break;
      OpenShard& open = files[shard];
      open.file = reopen_shard(checkpoint, shard);
      if (reads.opened) reads.opened(open);
    }
    run_range(begin, end, files, reads, options, progress);
    for (const auto& [shard, open] : files) require_unchanged(open.file);
    begin = end;
  }
  progress.finish();
}

}  // namespace hfload
