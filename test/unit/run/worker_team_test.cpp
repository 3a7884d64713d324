#include "core/run/worker_team.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

namespace hfload::test {
namespace {

TEST_CASE("each thread of a team takes part in every run, and what it wrote is seen after") {
  for (const unsigned threads : {1U, 2U, 5U}) {
    WorkerTeam team(threads);
    REQUIRE(team.threads() == threads);
    std::vector<int> runs(threads);
    for (int run = 1; run <= 2000; ++run) {
      team.run([&](unsigned index) { ++runs[index]; });
      for (const int count : runs) REQUIRE(count == run);
    }
  }
}

TEST_CASE("a team that has gone to sleep wakes up") {
  WorkerTeam team(3);
  std::atomic<int> taken{0};
  for (int run = 0; run < 3; ++run) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    team.run([&](unsigned) { ++taken; });
  }
  CHECK(taken == 9);
}

TEST_CASE("ranges cover everything once, in whole units") {
  WorkerTeam team(4);
  for (const int64_t count : {0, 1, 7, 8, 100, 1001}) {
    for (const int64_t unit : {1, 8, 64}) {
      std::vector<std::atomic<int>> taken(static_cast<size_t>(count));
      std::atomic<bool> aligned{true};
      team.run_ranges(count, unit, [&](int64_t begin, int64_t end) {
        if (begin % unit != 0 || (end % unit != 0 && end != count)) aligned = false;
        for (int64_t i = begin; i < end; ++i) ++taken[static_cast<size_t>(i)];
      });
      CAPTURE(count, unit);
      CHECK(aligned);
      for (const auto& times : taken) REQUIRE(times == 1);
    }
  }
}

}  // namespace
}  // namespace hfload::test
