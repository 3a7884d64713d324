#include "test/unit/kernels/cast_oracle.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace hfload::test {

FloatFormat source_format(CastKind kind) {
  switch (kind) {
    case CastKind::f16_to_f32:
    case CastKind::f16_to_bf16:
      return kF16;
    case CastKind::bf16_to_f32:
    case CastKind::bf16_to_f16:
      return kBf16;
    default:
      return kF32;
  }
}

FloatFormat target_format(CastKind kind) {
  switch (kind) {
    case CastKind::f32_to_f16:
    case CastKind::bf16_to_f16:
      return kF16;
    case CastKind::f32_to_bf16:
    case CastKind::f16_to_bf16:
      return kBf16;
    default:
      return kF32;
  }
}

double value_of(uint32_t bits, FloatFormat format) {
  const uint32_t fraction = bits & ((1U << format.mantissa_bits) - 1);
  const uint32_t exponent = bits >> format.mantissa_bits & ((1U << format.exponent_bits()) - 1);
  const double sign = bits >> (format.width() - 1) != 0 ? -1.0 : 1.0;
  if (exponent == (1U << format.exponent_bits()) - 1) {
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  const double significand = std::ldexp(fraction, -format.mantissa_bits);
  if (exponent == 0) return sign * std::ldexp(significand, format.min_exponent);
  return sign * std::ldexp(1 + significand, static_cast<int>(exponent) - 1 + format.min_exponent);
}

uint32_t nearest_bits(double value, FloatFormat format) {
  const uint32_t sign = std::signbit(value) ? 1U << (format.width() - 1) : 0U;
  const double magnitude = std::fabs(value);
  const uint32_t infinity = ((1U << format.exponent_bits()) - 1) << format.mantissa_bits;
  if (std::isinf(magnitude)) return sign | infinity;
  if (magnitude == 0) return sign;
  const int exponent = std::max(std::ilogb(magnitude), format.min_exponent);
  const double units = std::nearbyint(std::ldexp(magnitude, format.mantissa_bits - exponent));
  const double rounded = std::ldexp(units, exponent - format.mantissa_bits);
  if (rounded >= std::ldexp(1.0, format.max_exponent + 1)) return sign | infinity;
  if (rounded < std::ldexp(1.0, format.min_exponent)) return sign | static_cast<uint32_t>(units);
  const int rounded_exponent = std::ilogb(rounded);
  const double significand = std::ldexp(rounded, -rounded_exponent) - 1;
  return sign | static_cast<uint32_t>(rounded_exponent - format.min_exponent + 1) << format.mantissa_bits |
         static_cast<uint32_t>(std::ldexp(significand, format.mantissa_bits));
}

std::vector<uint32_t> source_patterns(CastKind kind) {
  std::vector<uint32_t> patterns;
  const std::vector<uint32_t> low =
      cast_source_bytes(kind) == 2
          ? std::vector<uint32_t>{0}
          : std::vector<uint32_t>{0x0000, 0x0001, 0x0fff, 0x1000, 0x1001, 0x1fff, 0x2000, 0x3000,
                                  0x7fff, 0x8000, 0x8001, 0xefff, 0xf000, 0xf001, 0xffff};
  const unsigned shift = cast_source_bytes(kind) == 2 ? 0 : 16;
  for (uint32_t upper = 0; upper <= 0xffff; ++upper) {
    for (const uint32_t lower : low) patterns.push_back(upper << shift | lower);
  }
  return patterns;
}

std::vector<std::byte> pack_elements(const std::vector<uint32_t>& values, size_t element_bytes) {
  std::vector<std::byte> bytes(values.size() * element_bytes);
  for (size_t i = 0; i < values.size(); ++i)
    std::memcpy(&bytes[i * element_bytes], &values[i], element_bytes);
  return bytes;
}

std::vector<uint32_t> unpack_elements(const std::vector<std::byte>& bytes, size_t element_bytes) {
  std::vector<uint32_t> values(bytes.size() / element_bytes);
  for (size_t i = 0; i < values.size(); ++i)
    std::memcpy(&values[i], &bytes[i * element_bytes], element_bytes);
  return values;
}

bool is_quieted_nan(uint32_t source, FloatFormat from, uint32_t target, FloatFormat to) {
  const uint32_t quiet = 1U << (to.mantissa_bits - 1);
  const uint32_t payload = quiet - 1;
  const int shift = to.mantissa_bits - from.mantissa_bits;
  const uint32_t kept = shift >= 0 ? source << shift : source >> -shift;
  const bool same_sign = source >> (from.width() - 1) == target >> (to.width() - 1);
  return std::isnan(value_of(target, to)) && (target & quiet) != 0 &&
         (target & payload) == (kept & payload) && same_sign;
}

}  // namespace hfload::test
