#include "kernels/hash.h"

#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstddef>
#include <vector>

#include "kernels/hash_device.h"
#include "test/support/fixtures.h"

namespace hfload::test {
namespace {

/// As test/oracle/make_hashes.py makes them.
std::vector<unsigned char> string_of_seed(uint64_t seed, uint64_t count) {
  std::vector<unsigned char> bytes(count);
  for (uint64_t i = 0; i < count; ++i) bytes[i] = static_cast<unsigned char>(i * 131 + seed * 29 + i / 251);
  return bytes;
}

TEST_CASE("hashes are those of the formula, whole and in parts of any order") {
  const ConfigValue fixture = read_json_fixture("casts/hashes.json");
  const ConfigValue::Array& rows = array_of(at(fixture, "hashes"));
  REQUIRE(rows.size() == 150);
  for (const ConfigValue& row : rows) {
    const ConfigValue::Array& columns = array_of(row);
    const uint64_t count = uint_of(columns[1]);
    const std::vector<unsigned char> bytes = string_of_seed(uint_of(columns[0]), count);
    CAPTURE(count);
    CHECK(fmt::format("{:016x}", hash_of_sum(hash_part(bytes.data(), count, 0), count)) ==
          string_of(columns[2]));
    const uint64_t cut = count / 3 / 8 * 8;
    const uint64_t second = hash_part(bytes.data() + cut, count - cut, cut / 8);
    CHECK(fmt::format("{:016x}", hash_of_sum(second + hash_part(bytes.data(), cut, 0), count)) ==
          string_of(columns[2]));
  }
}

TEST_CASE("a GPU thread's words are those of the bytes, whatever the alignment") {
  for (uint64_t count = 1; count < 40; ++count) {
    for (uint64_t offset = 0; offset < 8; ++offset) {
      // Aligned memory whose other bytes must not count.
      alignas(8) unsigned char memory[64];
      for (unsigned char& byte : memory) byte = 0xee;
      const std::vector<unsigned char> bytes = string_of_seed(3, count);
      for (uint64_t i = 0; i < count; ++i) memory[offset + i] = bytes[i];
      uint64_t sum = 0;
      for (uint64_t i = 0; i < (count + 7) / 8; ++i) sum += hash_word(word_of(memory + offset, count, i), i);
      CHECK(sum == hash_part(bytes.data(), count, 0));
    }
  }
}

TEST_CASE("a hash tells bytes that moved, changed or were left out") {
  const std::vector<unsigned char> bytes = string_of_seed(1, 4096);
  const auto hash = [](const std::vector<unsigned char>& b) {
    return hash_of_sum(hash_part(b.data(), b.size(), 0), b.size());
  };
  std::vector<unsigned char> other = bytes;
  std::swap_ranges(other.begin(), other.begin() + 8, other.begin() + 16);
  CHECK(hash(other) != hash(bytes));
  for (size_t bit = 0; bit < 64; ++bit) {
    other = bytes;
    other[1000 + bit / 8] ^= static_cast<unsigned char>(1 << bit % 8);
    CHECK(hash(other) != hash(bytes));
  }
  CHECK(hash(std::vector<unsigned char>(8)) != hash(std::vector<unsigned char>(16)));
  CHECK(hash({}) != hash({0}));
}

}  // namespace
}  // namespace hfload::test
