#include <catch2/catch.hpp>

#include "cli/terminal.h"

namespace hfload::cli {
namespace {

TEST_CASE("A progress line fits its width") {
  const LoadProgress half{1'500'000'000, 3'000'000'000, 0.5};
  CHECK(format_progress("loading", half, 0) == "loading   50 %  1.50/3.00 GB  3.00 GB/s  eta 1 s");
  CHECK(format_progress("loading", half, 79) ==
        "loading  [=============>             ]   50 %  1.50/3.00 GB  3.00 GB/s  eta 1 s");
  for (size_t width = 1; width < 200; ++width) CHECK(format_progress("loading", half, width).size() <= width);
}

TEST_CASE("A progress line has the units that its numbers need") {
  CHECK(format_progress("loading", {1256, 2512, 1e-3}, 0) ==
        "loading   50 %  1.26/2.51 KB  1.26 MB/s  eta 1 s");
  CHECK(format_progress("loading", {999, 999, 1}, 0) == "loading  100 %  999/999 B  999 B/s");
  CHECK(format_progress("loading", {1'000'000, 999'000'000, 0.5}, 0) ==
        "loading    0 %  1.00/999.00 MB  2.00 MB/s  eta 499 s");
}

TEST_CASE("A progress line never goes past its end") {
  CHECK(format_progress("loading", {0, 0, 0}, 0) == "loading  100 %  0/0 B  0 B/s");
  CHECK(format_progress("loading", {5'000'000'000, 4'000'000'000, 2}, 0).starts_with("loading  100 %"));
  // 99.99 % is not done yet.
  CHECK(format_progress("loading", {99'999, 100'000, 1}, 0).starts_with("loading   99 %"));
}

}  // namespace
}  // namespace hfload::cli
