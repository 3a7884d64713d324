#include "core/base/units.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "test/support/fixtures.h"

namespace hfload {
namespace {

std::optional<uint64_t> parse(std::string_view text) {
  try {
    return parse_byte_size(text);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_size) throw;
    return std::nullopt;
  }
}

bool is_whole_number(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

TEST_CASE("Byte sizes are read as accelerate reads them") {
  const ConfigValue fixture = test::read_json_fixture("units/sizes.json");
  size_t checked = 0;
  for (const ConfigValue& row : test::array_of(test::at(fixture, "sizes"))) {
    const std::string& text = test::string_of(test::array_of(row)[0]);
    const ConfigValue& expected = test::array_of(row)[1];
    // Two differences: a number without a unit is bytes here, and only ASCII digits are digits.
    const bool is_ascii =
        std::all_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) > 0; });
    if (is_whole_number(text) || !is_ascii) continue;
    CAPTURE(text);
    const std::optional<uint64_t> got = parse(text);
    if (expected.is_null()) {
      CHECK(!got.has_value());
    } else {
      CHECK(got.value_or(UINT64_MAX) == test::uint_of(expected));
    }
    ++checked;
  }
  CHECK(checked > 200);
}

TEST_CASE("A number without a unit is bytes") {
  CHECK(parse("0") == 0u);
  CHECK(parse("1000") == 1000u);
  CHECK(parse(" 7 ") == 7u);
  CHECK(parse("18446744073709551615") == UINT64_MAX);
  CHECK(!parse("18446744073709551616"));
  CHECK(!parse("-1"));
  CHECK(!parse("1.5"));
  CHECK(!parse("1e3"));
}

TEST_CASE("Bits are what a lower-case b of a decimal unit counts") {
  for (const char* size : {"20Kb", "8gb", "1.5mb"}) CHECK(counts_bits(size));
  for (const char* size : {"20KB", "8gB", "8Gib", "8gib", "20", "b", ""}) CHECK_FALSE(counts_bits(size));
}

TEST_CASE("A unit that is none is named") {
  const auto hint_of = [](std::string_view text) {
    try {
      parse_byte_size(text);
    } catch (const Error& error) {
      return error.hint();
    }
    return std::string("no error");
  };
  CHECK(hint_of("1TB").starts_with("TB is not a unit"));
  CHECK(hint_of(" 40k ").starts_with("k is not a unit"));
  CHECK(hint_of("x5GiB").starts_with("Give a number with a unit: GiB"));
  CHECK(hint_of("").starts_with("Give a number"));
}

TEST_CASE("A number has one sign") {
  CHECK(parse("+0GB") == 0u);
  CHECK(parse("-0GB") == 0u);
  CHECK(!parse("+-0GB"));
  CHECK(!parse("-+0GB"));
  CHECK(!parse("++0GB"));
}

TEST_CASE("Sizes that fit no 64 bits are refused") {
  CHECK(parse("18446744073KB") == 18446744073000u);
  CHECK(!parse("18446744073709551616KB"));
  CHECK(!parse("17179869184GiB"));
  CHECK(parse("17179869183GiB") == 17179869183u * (uint64_t{1} << 30));
  CHECK(!parse("1e300GB"));
}

TEST_CASE("Byte sizes are printed with three significant digits") {
  CHECK(format_byte_size(0) == "0 B");
  CHECK(format_byte_size(312) == "312 B");
  CHECK(format_byte_size(1023) == "1023 B");
  CHECK(format_byte_size(1024) == "1.00 KiB");
  CHECK(format_byte_size(1.5 * 1024 * 1024 * 1024) == "1.50 GiB");
  CHECK(format_byte_size(12.34 * 1024) == "12.3 KiB");
  CHECK(format_byte_size(123.4 * 1024) == "123 KiB");
  CHECK(format_byte_size(9.996 * 1024) == "10.0 KiB");
  CHECK(format_byte_size(99.96 * 1024) == "100 KiB");
  CHECK(format_byte_size(1023.4 * 1024) == "1023 KiB");
  CHECK(format_byte_size(1023.6 * 1024) == "1.00 MiB");
  CHECK(format_byte_size(0.125) == "0.12 B");
  CHECK(format_byte_size(18446744073709551616.0) == "16.0 EiB");
}

}  // namespace
}  // namespace hfload
