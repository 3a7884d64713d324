#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/check/tensor_diff.h"
#include "core/check/tensor_scan.h"
#include "kernels/hash.h"
#include "test/support/checkpoint_builder.h"
#include "test/support/temp_directory.h"

namespace hfload::test {
namespace {

constexpr size_t kPieceBytes = 4 << 20;  // that a check reads at once

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// Two pieces and a half.
template <class T>
std::vector<T> filled(T value) {
  return std::vector<T>(kPieceBytes / sizeof(T) * 5 / 2, value);
}

class Model {
 public:
  Model(const TempDirectory& root, const std::string& file, const CheckpointBuilder& builder)
      : checkpoint(open_checkpoint(locate_model(write(root, file, builder), {}))),
        source(open_tensor_source(checkpoint)) {}

  const Checkpoint checkpoint;
  const std::unique_ptr<TensorSource> source;

 private:
  static std::string write(const TempDirectory& root, const std::string& file,
                           const CheckpointBuilder& builder) {
    root.write(file, builder.bytes());
    return root / file;
  }
};

TensorStatistics statistics_of(const std::string& dtype, uint64_t values, const std::string& bytes) {
  const TempDirectory root;
  const Model model(root, "m.safetensors", CheckpointBuilder().tensor("t", dtype, {values}, bytes));
  const TensorStatistics found = scan_tensors(model.checkpoint, *model.source, {.threads = 3}).at(0).value();
  CHECK(found.values == values);
  CHECK(found.hash == hash_of_sum(hash_part(bytes.data(), bytes.size(), 0), bytes.size()));
  return found;
}

/// The smallest value lies in one piece, the greatest in another, and neither in the first or last block of a
/// piece.
template <class T>
void check_integers(const std::string& dtype, T common, T least, T most) {
  for (const bool least_first : {true, false}) {
    std::vector<T> values = filled(common);
    const size_t piece = kPieceBytes / sizeof(T), early = piece / 2, late = piece + piece / 2;
    values[least_first ? early : late] = least;
    values[least_first ? late : early] = most;
    const TensorStatistics found = statistics_of(dtype, values.size(), bytes_of(values));
    INFO(dtype << " " << least_first);
    const auto is = [](const std::optional<ElementValue>& value, T wanted) {
      return value && std::visit([&](auto number) { return static_cast<T>(number) == wanted; }, *value);
    };
    CHECK(is(found.min, least));
    CHECK(is(found.max, most));
    CHECK(found.zero == 0);
  }
}

TEST_CASE("the extremes of integers are found in any piece of a large tensor", "[check]") {
  check_integers<int32_t>("I32", -7, -2'000'000'000, 2'000'000'000);
  check_integers<int32_t>("I32", 100, 99, 101);
  check_integers<int32_t>("I32", -100, -101, -99);
  check_integers<uint32_t>("U32", 100, 99, 4'000'000'000);
  check_integers<int64_t>("I64", 100, -(int64_t{1} << 62) - 1, (int64_t{1} << 62) + 1);
  check_integers<int64_t>("I64", 100, 99, 101);
  check_integers<uint64_t>("U64", 100, 99, ~uint64_t{0} - 1);
}

TEST_CASE("what is odd is counted in every piece of a large tensor", "[check]") {
  std::vector<float> values = filled(1.0F);
  const size_t piece = kPieceBytes / sizeof(float);
  for (size_t p = 0; p < 3; ++p) {
    values[p * piece + 5] = std::numeric_limits<float>::quiet_NaN();
    values[p * piece + 6] = p == 1 ? std::numeric_limits<float>::infinity() : 0.0F;
    values[p * piece + 70'000] = std::numeric_limits<float>::denorm_min();
  }
  values[9] = 1024.0F;
  values[2 * piece + 9] = -2048.0F;
  const TensorStatistics found = statistics_of("F32", values.size(), bytes_of(values));
  CHECK(found.nan == 3);
  CHECK(found.infinite == 1);
  CHECK(found.zero == 2);
  CHECK(found.denormal == 3);
  CHECK(found.max == ElementValue(1024.0));
  CHECK(found.min == ElementValue(-2048.0));
  // Ones but for 3 NaN, 1 infinity, 2 zeros, 3 of next to nothing, and the extremes.
  const auto ones = static_cast<double>(values.size() - 11);
  CHECK(found.mean.value() == Approx((ones + 1024 - 2048) / static_cast<double>(values.size() - 4)));

  std::vector<uint16_t> halves = filled<uint16_t>(0x3C00);  // 1
  for (size_t p = 0; p < 3; ++p) halves[p * kPieceBytes / 2 + 3] = 0x0001;
  halves[5] = 0x4400;  // 4
  const TensorStatistics small = statistics_of("F16", halves.size(), bytes_of(halves));
  CHECK(small.denormal == 3);
  CHECK(small.max == ElementValue(4.0));
  CHECK(small.min == ElementValue(std::ldexp(1.0, -24)));
  CHECK(small.mean.value() ==
        Approx((static_cast<double>(halves.size() - 4) + 4) / static_cast<double>(halves.size())));
}

TensorDifference difference(const CheckpointBuilder& a, const CheckpointBuilder& b) {
  const TempDirectory root;
  const Model one(root, "a.safetensors", a), other(root, "b.safetensors", b);
  CheckpointDifference found =
      diff_checkpoints(one.checkpoint, *one.source, other.checkpoint, *other.source, {.threads = 3});
  REQUIRE(found.common.size() == 1);
  return found.common[0];
}

TensorDifference difference(const std::string& dtype_a, const std::string& a, const std::string& dtype_b,
                            const std::string& b, uint64_t values) {
  return difference(CheckpointBuilder().tensor("t", dtype_a, {values}, a),
                    CheckpointBuilder().tensor("t", dtype_b, {values}, b));
}

TEST_CASE("differences are added up over the pieces of a large tensor", "[check]") {
  std::vector<float> a = filled(1.0F), b = a;
  const size_t piece = kPieceBytes / sizeof(float);
  const auto move_by = [&](size_t at, uint32_t ulps) {
    uint32_t bits = 0;
    std::memcpy(&bits, &b[at], 4);
    bits += ulps;
    std::memcpy(&b[at], &bits, 4);
  };
  move_by(10, 1 << 20);  // 1/8 of 1: the most
  move_by(11, 3);
  move_by(piece + 40'000, 4);
  move_by(2 * piece + 1, 5);
  b[2 * piece + 2] = std::numeric_limits<float>::quiet_NaN();
  const TensorDifference found = difference("F32", bytes_of(a), "F32", bytes_of(b), a.size());
  CHECK(found.differing == 5);
  CHECK(found.nan_mismatches == 1);
  CHECK(found.max_absolute == 0.125);
  CHECK(found.max_relative == 0.125 / 1.125);
  CHECK(found.zero_ulps == a.size() - 5);
  REQUIRE(found.ulps);
  UlpHistogram expected{};
  expected[1 + 2] = 2;   // 3 and 4 apart: at most 2^2
  expected[1 + 3] = 1;   // 5
  expected[1 + 20] = 1;  // 2^20
  CHECK(*found.ulps == expected);
  double dot = 0, norm_b = 0;
  for (const float value : b) {
    if (std::isnan(value)) continue;
    dot += value;
    norm_b += double{value} * value;
  }
  CHECK(found.cosine.value() ==
        Approx(dot / std::sqrt(static_cast<double>(a.size() - 1)) / std::sqrt(norm_b)).epsilon(1e-12));
}

TEST_CASE("a large tensor is compared with itself in another dtype", "[check]") {
  std::vector<float> a(kPieceBytes / 4 * 5 / 2);
  std::vector<uint16_t> b(a.size());
  for (size_t i = 0; i < a.size(); ++i) {
    b[i] = static_cast<uint16_t>(0x3F00 + i % 251);  // bfloat16 is the upper half of float32
    const uint32_t bits = uint32_t{b[i]} << 16;
    std::memcpy(&a[i], &bits, 4);
  }
  // Two NaN of which no bits agree.
  const uint32_t negative_nan = 0xFFC12345;
  std::memcpy(&a[7], &negative_nan, 4);
  b[7] = 0x7F82;
  const TensorDifference same = difference("F32", bytes_of(a), "BF16", bytes_of(b), a.size());
  CHECK(same.differing == 0);
  CHECK(same.nan_mismatches == 0);
  CHECK(same.max_absolute == 0);
  CHECK_FALSE(same.has_ulps);
  CHECK(difference("BF16", bytes_of(b), "F32", bytes_of(a), a.size()).differing == 0);
  b[a.size() - 1] ^= 1;
  CHECK(difference("F32", bytes_of(a), "BF16", bytes_of(b), a.size()).differing == 1);
}

TEST_CASE("unsigned integers differ by their distance, however large", "[check]") {
  const std::vector<uint64_t> a{(uint64_t{1} << 63) + 5, 3}, b{uint64_t{1} << 62, 3};
  const TensorDifference found = difference("U64", bytes_of(a), "U64", bytes_of(b), 2);
  CHECK(found.max_absolute == std::ldexp(1.0, 62));  // and 5, which is rounded away
  CHECK(found.differing == 1);
  CHECK(found.within(std::ldexp(1.0, 62)));
}

TEST_CASE("signed integers differ by 1 where no double tells them apart", "[check]") {
  const std::vector<int64_t> a{int64_t{1} << 62, -(int64_t{1} << 62)}, b{a[0] + 1, a[1] + 1};
  const TensorDifference found = difference("I64", bytes_of(a), "I64", bytes_of(b), 2);
  CHECK(found.max_absolute == 1);
  CHECK(found.differing == 2);
}

TEST_CASE("a cosine is at most 1", "[check]") {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  for (uint64_t values = 1; values < 100; ++values) {
    std::vector<float> a(values), b(values);
    for (size_t i = 0; i < values; ++i) {
      a[i] = normal(random);
      b[i] = -3 * a[i];
    }
    CHECK(difference("F32", bytes_of(a), "F32", bytes_of(a), values).cosine.value() <= 1);
    CHECK(difference("F32", bytes_of(a), "F32", bytes_of(b), values).cosine.value() >= -1);
  }
}

TEST_CASE("elements that are not decoded are near nothing but themselves", "[check]") {
  const std::string bytes(16, '\x21');
  std::string other = bytes;
  other[3] ^= 1;
  const TensorDifference same = difference("F4", bytes, "F4", bytes, 32);
  CHECK(same.within(0));
  const TensorDifference apart = difference("F4", bytes, "F4", other, 32);
  CHECK(apart.differing == 1);
  CHECK_FALSE(apart.within(1e300));
  const std::string six(24, '\x21');
  CHECK_FALSE(difference("F6_E2M3", six, "F6_E3M2", six, 32).same_shape);
}

}  // namespace
}  // namespace hfload::test
