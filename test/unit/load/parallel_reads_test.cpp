#include "core/load/parallel_reads.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/base/interrupted.h"
#include "test/unit/load/synthetic_model.h"

namespace hfload::test {
namespace {

using namespace std::chrono_literals;

/// Lets nobody go on before so many workers have come, but for not longer than some seconds.
class Meeting {
 public:
  explicit Meeting(size_t workers) : workers_(workers) {}

  /// Whether all have come.
  bool attend(unsigned worker) {
    std::unique_lock lock(mutex_);
    present_.insert(worker);
    changed_.notify_all();
    gave_up_ = gave_up_ || !changed_.wait_for(lock, 5s, [&] { return present_.size() >= workers_; });
    return !gave_up_;
  }

 private:
  size_t workers_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<unsigned> present_;
  bool gave_up_ = false;
};

const SyntheticModel& one_shard() {
  static const SyntheticModel model({{.device = Device::cpu(), .elements = 1}});
  return model;
}

ParallelReads reads_of(uint64_t count, std::function<uint64_t(uint64_t piece, unsigned worker)> work,
                       uint64_t bytes_of_each = 0) {
  ParallelReads reads{.count = count,
                      .shard = [](uint64_t) { return 0U; },
                      .work = [call = std::move(work)](uint64_t piece, OpenShard&,
                                                       unsigned worker) { return call(piece, worker); }};
  if (bytes_of_each > 0) reads.bytes = [=](uint64_t) { return bytes_of_each; };
  return reads;
}

TEST_CASE("every piece is done once, by each worker in ascending order") {
  constexpr uint64_t kPieces = 100'000;
  constexpr unsigned kWorkers = 4;
  for (const uint64_t bytes : {0, 1, 1 << 20}) {
    std::vector<std::atomic<int>> done(kPieces);
    std::vector<uint64_t> next(kWorkers);
    std::atomic<int> backwards{0};
    const auto work = [&](uint64_t piece, unsigned worker) -> uint64_t {
      ++done[piece];
      if (piece < next[worker]) ++backwards;
      next[worker] = piece + 1;
      return 1;
    };
    uint64_t reported = 0;
    const LoadOptions options{.threads = kWorkers,
                              .progress = [&](const LoadProgress& p) { reported = p.done_bytes; }};
    run_parallel_reads(one_shard().checkpoint, reads_of(kPieces, work, bytes), options);
    CHECK(std::ranges::all_of(done, [](const std::atomic<int>& times) { return times == 1; }));
    CHECK(backwards.load() == 0);
    CHECK(reported == kPieces);
  }
}

TEST_CASE("neighbouring pieces go to one worker, up to 4 MiB") {
  constexpr uint64_t kPieces = 64, kMebibyte = 1 << 20;
  Meeting meeting(2);
  std::vector<unsigned> worker_of(kPieces);
  const auto work = [&](uint64_t piece, unsigned worker) -> uint64_t {
    worker_of[piece] = worker;
    meeting.attend(worker);  // nobody takes everything
    return 0;
  };
  run_parallel_reads(one_shard().checkpoint, reads_of(kPieces, work, kMebibyte), {.threads = 2});
  for (uint64_t piece = 0; piece < kPieces; ++piece) CHECK(worker_of[piece] == worker_of[piece / 4 * 4]);
  CHECK(std::set(worker_of.begin(), worker_of.end()).size() == 2);
}

TEST_CASE("small pieces leave something to do for every worker") {
  constexpr unsigned kWorkers = 4;
  Meeting meeting(kWorkers);
  std::atomic<int> alone{0};
  const auto work = [&](uint64_t, unsigned worker) -> uint64_t {
    if (!meeting.attend(worker)) ++alone;
    return 0;
  };
  run_parallel_reads(one_shard().checkpoint, reads_of(16, work, 1024), {.threads = kWorkers});
  CHECK(alone.load() == 0);
}

TEST_CASE("a piece that fails stops the other workers") {
  constexpr uint64_t kPieces = 4000;
  std::atomic<uint64_t> done{0};
  const auto work = [&](uint64_t piece, unsigned) -> uint64_t {
    if (piece == 0) throw std::runtime_error("the first piece");
    std::this_thread::sleep_for(1ms);
    ++done;
    return 0;
  };
  CHECK_THROWS_WITH(run_parallel_reads(one_shard().checkpoint, reads_of(kPieces, work), {.threads = 3}),
                    "the first piece");
  CHECK(done.load() < kPieces / 2);
}

TEST_CASE("an interruption is looked for before every piece") {
  uint64_t done = 0;
  int looks = 0;
  const auto work = [&](uint64_t, unsigned) -> uint64_t { return ++done; };
  const LoadOptions options{.threads = 1, .interrupted = [&] { return ++looks > 2; }};
  CHECK_THROWS_AS(run_parallel_reads(one_shard().checkpoint, reads_of(64, work, 1024), options), Interrupted);
  CHECK(done == 2);
}

}  // namespace
}  // namespace hfload::test
