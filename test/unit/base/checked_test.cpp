#include "core/base/checked.h"

#include <catch2/catch.hpp>

namespace hfload {
namespace {

__extension__ using Wide = unsigned __int128;

TEST_CASE("Checked sums and products agree with 128-bit arithmetic") {
  const uint64_t values[] = {
      0,         1, 2, 3, 7, 0xFFFFFFFF, 0x100000000, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, UINT64_MAX - 1,
      UINT64_MAX};
  for (const uint64_t a : values) {
    for (const uint64_t b : values) {
      CAPTURE(a, b);
      const Wide sum = Wide{a} + b, product = Wide{a} * b;
      CHECK(checked_add(a, b).has_value() == (sum <= UINT64_MAX));
      CHECK(checked_mul(a, b).has_value() == (product <= UINT64_MAX));
      if (sum <= UINT64_MAX) CHECK(checked_add(a, b) == static_cast<uint64_t>(sum));
      if (product <= UINT64_MAX) CHECK(checked_mul(a, b) == static_cast<uint64_t>(product));
    }
  }
}

TEST_CASE("Alignment rounds up to a multiple") {
  CHECK(align_up(0, 8) == 0);
  CHECK(align_up(1, 8) == 8);
  CHECK(align_up(8, 8) == 8);
  CHECK(align_up(9, 256) == 256);
  CHECK(align_up(0xFFFFFFFF, 4096) == 0x100000000);
}

}  // namespace
}  // namespace hfload
