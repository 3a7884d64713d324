#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/cast.h"

namespace hfload::test {

/// A binary float format by the definitions of IEEE 754: sign, exponent, `mantissa_bits` explicit bits.
struct FloatFormat {
  int mantissa_bits;
  int min_exponent;  ///< of normal numbers
  int max_exponent;

  int exponent_bits() const { return max_exponent == 15 ? 5 : 8; }
  int width() const { return 1 + exponent_bits() + mantissa_bits; }
};
inline constexpr FloatFormat kF16{10, -14, 15};
inline constexpr FloatFormat kBf16{7, -126, 127};
inline constexpr FloatFormat kF32{23, -126, 127};

FloatFormat source_format(CastKind kind);

FloatFormat target_format(CastKind kind);

/// The value of a bit pattern, exact in float64.
double value_of(uint32_t bits, FloatFormat format);

/// The bit pattern of the format's number nearest to `value`, ties to even: found by rounding the multiple of
/// the unit in the last place in float64, where all steps are exact. `value` is not NaN.
uint32_t nearest_bits(double value, FloatFormat format);

inline constexpr CastKind kCastKinds[] = {CastKind::f32_to_f16,  CastKind::f32_to_bf16,
                                          CastKind::f16_to_f32,  CastKind::f16_to_bf16,
                                          CastKind::bf16_to_f32, CastKind::bf16_to_f16};

/// Source bit patterns for a kind: all 2^16, or, for f32, every upper half with the lower halves at which
/// rounding to 10 or 7 bits turns.
std::vector<uint32_t> source_patterns(CastKind kind);

/// Elements of `element_bytes` bytes each as they lie in memory, and back.
std::vector<std::byte> pack_elements(const std::vector<uint32_t>& values, size_t element_bytes);

std::vector<uint32_t> unpack_elements(const std::vector<std::byte>& bytes, size_t element_bytes);

/// Whether a NaN pattern is quiet and its sign and leading payload bits are the source's.
bool is_quieted_nan(uint32_t source, FloatFormat from, uint32_t target, FloatFormat to);

}  // namespace hfload::test
