#include "kernels/cast.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernels/cast_paths.h"
#include "test/support/fixtures.h"
#include "test/unit/kernels/cast_oracle.h"

namespace hfload::test {
namespace {

using Cast = void (*)(CastKind, const void*, void*, size_t);

/// The definition, and each way that this processor can go.
std::vector<Cast> all_casts() {
  std::vector<Cast> casts{cast_reference, cast};
  if (has_cast_avx2()) casts.push_back(cast_avx2);
  if (has_cast_avx512()) casts.push_back(cast_avx512);
  return casts;
}

std::vector<uint32_t> run(Cast convert, CastKind kind, const std::vector<uint32_t>& patterns) {
  const std::vector<std::byte> source = pack_elements(patterns, cast_source_bytes(kind));
  std::vector<std::byte> target(patterns.size() * cast_target_bytes(kind));
  convert(kind, source.data(), target.data(), patterns.size());
  return unpack_elements(target, cast_target_bytes(kind));
}

/// The first pattern that a function converts differently from the definition; nothing is one past the end.
size_t first_wrong(Cast convert, CastKind kind, const std::vector<uint32_t>& patterns) {
  const FloatFormat from = source_format(kind);
  const FloatFormat to = target_format(kind);
  const std::vector<uint32_t> results = run(convert, kind, patterns);
  for (size_t i = 0; i < patterns.size(); ++i) {
    const double value = value_of(patterns[i], from);
    const bool right = std::isnan(value) ? is_quieted_nan(patterns[i], from, results[i], to)
                                         : results[i] == nearest_bits(value, to);
    if (!right) return i;
  }
  return patterns.size();
}

#if defined(__x86_64__)
/// Whether Linux lists all of these among the processor's features.
bool system_lists(const std::vector<std::string>& wanted) {
  std::ifstream file("/proc/cpuinfo");
  std::string line;
  while (std::getline(file, line) && !line.starts_with("flags")) {
  }
  std::istringstream words(line);
  const std::set<std::string> listed{std::istream_iterator<std::string>(words), {}};
  REQUIRE(listed.contains("sse2"));
  return std::ranges::all_of(wanted, [&](const std::string& feature) { return listed.contains(feature); });
}
#endif

TEST_CASE("no way to cast that this processor has is left untested") {
#if defined(__x86_64__)
  CHECK(has_cast_avx2() == system_lists({"avx2", "f16c"}));
  CHECK(has_cast_avx512() == system_lists({"avx512f", "avx512bw", "avx512vl", "avx512dq"}));
#endif
  if (!has_cast_avx2()) WARN("not tested: casts by AVX2 and F16C, which this processor lacks");
  if (!has_cast_avx512()) WARN("not tested: casts by AVX-512, which this processor lacks");
}

TEST_CASE("casts are the nearest number by definition, for all patterns") {
  for (const CastKind kind : kCastKinds) {
    const std::vector<uint32_t> patterns = source_patterns(kind);
    REQUIRE(patterns.size() >= 65536);
    CAPTURE(static_cast<int>(kind));
    for (const Cast convert : all_casts()) {
      const size_t wrong = first_wrong(convert, kind, patterns);
      CHECK((wrong == patterns.size() ? 0 : patterns[wrong]) == 0);
    }
  }
}

TEST_CASE("casts agree with the compiler's own conversions") {
#ifdef __FLT16_MAX__
  std::mt19937 random(1);
  std::vector<uint32_t> patterns = source_patterns(CastKind::f32_to_f16);
  for (int i = 0; i < 1'000'000; ++i) patterns.push_back(static_cast<uint32_t>(random()));
  const std::vector<uint32_t> halves = run(cast, CastKind::f32_to_f16, patterns);
  size_t different = 0;
  for (size_t i = 0; i < patterns.size(); ++i) {
    const float value = std::bit_cast<float>(patterns[i]);
    if (std::isnan(value)) continue;
    different += std::bit_cast<uint16_t>(static_cast<_Float16>(value)) != halves[i] ? 1 : 0;
  }
  CHECK(different == 0);

  const std::vector<uint32_t> all = source_patterns(CastKind::f16_to_f32);
  const std::vector<uint32_t> floats = run(cast, CastKind::f16_to_f32, all);
  for (size_t i = 0; i < all.size(); ++i) {
    const auto value = static_cast<float>(std::bit_cast<_Float16>(static_cast<uint16_t>(all[i])));
    if (std::isnan(value)) continue;
    different += std::bit_cast<uint32_t>(value) != floats[i] ? 1 : 0;
  }
  CHECK(different == 0);
#else
  WARN("this compiler has no _Float16");
#endif
}

TEST_CASE("fast casts give the reference's bits, whatever the length and alignment, and write nothing else") {
  constexpr std::byte kGuard{0xa5};
  std::mt19937 random(2);
  std::vector<size_t> counts;
  for (size_t count = 0; count < 70; ++count) counts.push_back(count);
  counts.insert(counts.end(), {4096, 16384, 32768 + 5, 65536 + 17});
  std::vector<std::byte> source(70'000 * 4 + 64);
  for (std::byte& byte : source) byte = static_cast<std::byte>(random());
  for (const CastKind kind : kCastKinds) {
    for (const size_t count : counts) {
      for (const size_t offset : {size_t{0}, size_t{1}, size_t{2}, size_t{4}, size_t{6}, size_t{31}}) {
        const size_t bytes = count * cast_target_bytes(kind);
        std::vector<std::byte> expected(bytes + 128, kGuard);
        cast_reference(kind, source.data() + offset, expected.data() + 32 + offset, count);
        for (const Cast convert : all_casts()) {
          std::vector<std::byte> actual(bytes + 128, kGuard);
          convert(kind, source.data() + offset, actual.data() + 32 + offset, count);
          if (expected != actual) {
            CAPTURE(static_cast<int>(kind), count, offset);
            FAIL("fast and reference casts differ");
          }
        }
      }
    }
  }
  SUCCEED();
}

TEST_CASE("a cast of kind none copies bytes") {
  const std::vector<std::byte> source{std::byte{1}, std::byte{2}, std::byte{3}};
  for (const Cast convert : all_casts()) {
    std::vector<std::byte> target(3);
    convert(CastKind::none, source.data(), target.data(), 3);
    CHECK(target == source);
  }
  CHECK(cast_source_bytes(CastKind::none) == 1);
  CHECK(cast_target_bytes(CastKind::none) == 1);
}

uint64_t fnv1a64(const std::vector<uint32_t>& values, size_t element_bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const std::byte byte : pack_elements(values, element_bytes)) {
    hash = (hash ^ std::to_integer<uint64_t>(byte)) * 0x100000001b3;
  }
  return hash;
}

/// As the fixture counts NaNs: all of them as one pattern.
void make_nans_canonical(std::vector<uint32_t>& values, FloatFormat format) {
  const uint32_t canonical = ((1U << (format.exponent_bits() + 1)) - 1) << (format.mantissa_bits - 1);
  for (uint32_t& bits : values) {
    if (std::isnan(value_of(bits, format))) bits = canonical;
  }
}

CastKind kind_of(std::string_view from, std::string_view to) {
  const auto pair = [&](std::string_view a, std::string_view b) { return from == a && to == b; };
  if (pair("float16", "float32")) return CastKind::f16_to_f32;
  if (pair("float16", "bfloat16")) return CastKind::f16_to_bf16;
  if (pair("bfloat16", "float32")) return CastKind::bf16_to_f32;
  if (pair("bfloat16", "float16")) return CastKind::bf16_to_f16;
  throw std::runtime_error("the fixture names a conversion that does not exist");
}

TEST_CASE("casts from 16 bits are torch's for all patterns") {
  const ConfigValue fixture = read_json_fixture("casts/casts.json");
  const ConfigValue::Array& hashes = array_of(at(fixture, "hashes"));
  REQUIRE(hashes.size() == 4);
  for (const ConfigValue& row : hashes) {
    const CastKind kind = kind_of(string_of(at(row, "from")), string_of(at(row, "to")));
    std::vector<uint32_t> results = run(cast, kind, source_patterns(kind));
    make_nans_canonical(results, target_format(kind));
    CHECK(fmt::format("{:016x}", fnv1a64(results, cast_target_bytes(kind))) == string_of(at(row, "fnv1a64")));
  }
}

TEST_CASE("casts from float32 are torch's") {
  const ConfigValue fixture = read_json_fixture("casts/casts.json");
  const ConfigValue::Array& rows = array_of(at(fixture, "float32"));
  REQUIRE(rows.size() > 300);
  std::vector<uint32_t> columns[3];
  for (const ConfigValue& row : rows) {
    for (size_t column = 0; column < 3; ++column) {
      columns[column].push_back(
          static_cast<uint32_t>(std::stoul(string_of(array_of(row).at(column)), nullptr, 16)));
    }
  }
  std::vector<uint32_t> half = run(cast, CastKind::f32_to_f16, columns[0]);
  std::vector<uint32_t> brain = run(cast, CastKind::f32_to_bf16, columns[0]);
  make_nans_canonical(half, kF16);
  make_nans_canonical(brain, kBf16);
  CHECK(half == columns[1]);
  CHECK(brain == columns[2]);
}

// Run by name: half a minute.
TEST_CASE("fast and reference casts agree for every float32", "[.exhaustive]") {
  std::vector<uint32_t> patterns(1 << 20);
  std::vector<uint16_t> fast(patterns.size());
  std::vector<uint16_t> reference(patterns.size());
  for (const CastKind kind : {CastKind::f32_to_f16, CastKind::f32_to_bf16}) {
    for (uint64_t block = 0; block < 4096; ++block) {
      for (uint32_t i = 0; i < patterns.size(); ++i) patterns[i] = static_cast<uint32_t>(block << 20) + i;
      cast(kind, patterns.data(), fast.data(), patterns.size());
      cast_reference(kind, patterns.data(), reference.data(), patterns.size());
      REQUIRE((fast == reference));
    }
  }
}

}  // namespace
}  // namespace hfload::test
