#include "core/base/workers.h"

#include <atomic>
#include <barrier>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace hfload {
namespace {

TEST_CASE("Every worker runs once with its own index") {
  for (const unsigned workers : {1u, 2u, 7u}) {
    std::vector<std::atomic<int>> runs(workers);
    run_workers(workers, [&](unsigned index) { ++runs.at(index); });
    for (const auto& run : runs) CHECK(run == 1);
  }
}

TEST_CASE("No number of workers still means the caller itself") {
  int runs = 0;
  run_workers(0, [&](unsigned) { ++runs; });
  CHECK(runs == 1);
}

TEST_CASE("Workers run at the same time") {
  std::barrier barrier(4);
  std::atomic<int> passed = 0;
  run_workers(4, [&](unsigned) {
    barrier.arrive_and_wait();
    ++passed;
  });
  CHECK(passed == 4);
}

TEST_CASE("An exception of any worker comes back after all have returned") {
  for (unsigned thrower = 0; thrower < 4; ++thrower) {
    std::atomic<int> returned = 0;
    try {
      run_workers(4, [&](unsigned index) {
        if (index == thrower) throw std::runtime_error("from a worker");
        ++returned;
      });
      FAIL("nothing was thrown");
    } catch (const std::runtime_error& error) {
      CHECK(std::string(error.what()) == "from a worker");
    }
    CHECK(returned == 3);
  }
}

TEST_CASE("Of several exceptions one comes back") {
  CHECK_THROWS_AS(run_workers(3, [](unsigned) { throw std::runtime_error("all"); }), std::runtime_error);
}

}  // namespace
}  // namespace hfload
