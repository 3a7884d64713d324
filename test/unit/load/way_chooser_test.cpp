#include "core/load/way_chooser.h"

#include <catch2/catch.hpp>

#include <array>

namespace hfload {
namespace {

using Way = WayChooser::Way;

/// Uses a way `uses` times, each of 1 byte; returns how often each was taken.
std::array<int, 2> use(WayChooser& chooser, int uses, double first_seconds, double second_seconds) {
  std::array<int, 2> taken{};
  for (int i = 0; i < uses; ++i) {
    const Way way = chooser.next();
    ++taken[static_cast<size_t>(way)];
    chooser.report(way, 1, way == Way::first ? first_seconds : second_seconds);
  }
  return taken;
}

TEST_CASE("a first way that is good enough is the only one taken") {
  WayChooser chooser(1.0);
  CHECK(use(chooser, 1000, 1.0, 0.1) == std::array{1000, 0});
}

TEST_CASE("the first way is good enough or not by what it has cost lately") {
  WayChooser chooser(1.0);
  CHECK_FALSE(chooser.is_good_enough());
  chooser.report(Way::first, 1, 1.0);
  CHECK(chooser.is_good_enough());
  chooser.report(Way::first, 1, 1.5);
  CHECK_FALSE(chooser.is_good_enough());
}

TEST_CASE("the cheaper way is taken nearly always, the other now and then") {
  SECTION("the second is cheaper") {
    WayChooser chooser(0.1);
    // Trials of the first: at the beginning, and after pauses of 16, 64, 256 and 1024 uses.
    CHECK(use(chooser, 1 + 1 + 16 + 1 + 64 + 1 + 256 + 1 + 1024, 4.0, 1.0) == std::array{4, 1361});
    // No pause is longer.
    CHECK(use(chooser, 1 + 1024 + 1, 4.0, 1.0) == std::array{2, 1024});
  }
  SECTION("the first is cheaper") {
    WayChooser chooser(0.1);
    CHECK(use(chooser, 1000, 1.0, 4.0)[0] > 990);
  }
}

TEST_CASE("the second way is taken where it costs less than the given part of the first") {
  WayChooser chooser(0.0, 0.5);
  CHECK(use(chooser, 200, 4.0, 2.0)[0] > 190);
  WayChooser other(0.0, 0.5);
  CHECK(use(other, 200, 4.0, 1.9)[1] > 190);
}

TEST_CASE("a way that has become cheaper is found out and taken") {
  WayChooser chooser(0.1);
  use(chooser, 400, 10.0, 1.0);
  use(chooser, 1100, 0.5, 1.0);  // long enough for a trial
  const std::array<int, 2> later = use(chooser, 1000, 0.5, 1.0);
  CHECK(later[0] > 900);
}

TEST_CASE("once the other way pays, its cost is that of the trial, and pauses are short again") {
  WayChooser chooser(0.1);
  use(chooser, 1 + 1 + 16 + 1 + 64 + 1 + 256 + 1 + 1024, 4.0, 1.0);
  CHECK(use(chooser, 1 + 16 + 1, 0.5, 1.0) == std::array{17, 1});
}

TEST_CASE("a use of no bytes says nothing of the cost") {
  WayChooser chooser(0.1);
  chooser.report(Way::first, 0, 1.0);
  CHECK(chooser.next() == Way::first);
  use(chooser, 2, 2.0, 1.0);
  chooser.report(Way::second, 0, 1.0);
  CHECK(chooser.next() == Way::second);
}

TEST_CASE("cost is that of a byte, not of a use") {
  WayChooser chooser(0.0);
  for (int i = 0; i < 12; ++i) {
    const Way way = chooser.next();
    // The second moves a hundred times the bytes in ten times the time.
    way == Way::first ? chooser.report(way, 1, 1.0) : chooser.report(way, 100, 10.0);
  }
  CHECK(chooser.next() == Way::second);
}

}  // namespace
}  // namespace hfload
