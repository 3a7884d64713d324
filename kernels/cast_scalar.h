#pragma once

#include <cstdint>

#include "kernels/cast.h"
#include "kernels/host_device.h"

namespace hfload {

/// Conversions of single elements, as bit patterns (IEEE 754 binary16, binary32; bfloat16 is the upper half
/// of binary32). One definition for processor and GPU, so that both give the same bits, NaN payloads
/// included.

HFLOAD_HOST_DEVICE inline uint32_t f32_from_bf16(uint16_t bits) {
  const bool is_nan = (bits & 0x7fffU) > 0x7f80U;
  return static_cast<uint32_t>(bits | (is_nan ? 0x0040U : 0U)) << 16;
}

HFLOAD_HOST_DEVICE inline uint16_t bf16_from_f32(uint32_t bits) {
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>((bits >> 16) | 0x0040U);
  // Adding just under half a unit, and one more when the unit's last bit is odd, rounds to nearest even; a
  // carry out of the mantissa goes into the exponent, up to infinity, as it should.
  return static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

HFLOAD_HOST_DEVICE inline uint32_t f32_from_f16(uint16_t bits) {
  const uint32_t sign = (bits & 0x8000U) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fU;
  const uint32_t mantissa = bits & 0x3ffU;
  if (exponent == 0x1fU) return sign | 0x7f800000U | (mantissa << 13) | (mantissa != 0 ? 0x00400000U : 0U);
  if (exponent != 0) return sign | ((exponent + 127 - 15) << 23) | (mantissa << 13);
  if (mantissa == 0) return sign;
  // A denormal is mantissa * 2^-24; in binary32 it is normal.
  uint32_t top = 9;
  while ((mantissa >> top) == 0) --top;
  return sign | ((top + 127 - 24) << 23) | ((mantissa << (23 - top)) & 0x007fffffU);
}

HFLOAD_HOST_DEVICE inline uint16_t f16_from_f32(uint32_t bits) {
  const uint32_t sign = (bits >> 16) & 0x8000U;
  const uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return static_cast<uint16_t>(sign | 0x7e00U | ((magnitude >> 13) & 0x3ffU));
  if (magnitude >= 0x47800000U) return static_cast<uint16_t>(sign | 0x7c00U);  // 2^16 and above
  if (magnitude >= 0x38800000U) {                                              // 2^-14, the least normal
    const uint32_t rounded = magnitude + 0xfffU + ((magnitude >> 13) & 1U);
    return static_cast<uint16_t>(sign | ((rounded - ((127U - 15U) << 23)) >> 13));
  }
  if (magnitude <= 0x33000000U)
    return static_cast<uint16_t>(sign);            // 2^-25 is half a unit: the tie goes to zero
  const uint32_t shift = 126 - (magnitude >> 23);  // 14 to 24
  const uint32_t mantissa = (magnitude & 0x007fffffU) | 0x00800000U;
  const uint32_t unit = mantissa >> shift;
  const uint32_t rest = mantissa & ((1U << shift) - 1);
  const uint32_t half = 1U << (shift - 1);
  const uint32_t up = rest > half || (rest == half && (unit & 1U) != 0) ? 1U : 0U;
  return static_cast<uint16_t>(sign | (unit + up));
}

/// The element conversion of each kind: Source and Target bits, and `convert`.
template <CastKind kind>
struct CastElement;

template <>
struct CastElement<CastKind::f32_to_f16> {
  using Source = uint32_t;
  using Target = uint16_t;
  HFLOAD_HOST_DEVICE static Target convert(Source bits) { return f16_from_f32(bits); }
};

template <>
struct CastElement<CastKind::f32_to_bf16> {
  using Source = uint32_t;
  using Target = uint16_t;
  HFLOAD_HOST_DEVICE static Target convert(Source bits) { return bf16_from_f32(bits); }
};

template <>
struct CastElement<CastKind::f16_to_f32> {
  using Source = uint16_t;
  using Target = uint32_t;
  HFLOAD_HOST_DEVICE static Target convert(Source bits) { return f32_from_f16(bits); }
};

template <>
struct CastElement<CastKind::bf16_to_f32> {
  using Source = uint16_t;
  using Target = uint32_t;
  HFLOAD_HOST_DEVICE static Target convert(Source bits) { return f32_from_bf16(bits); }
};

template <>
struct CastElement<CastKind::f16_to_bf16> {
  using Source = uint16_t;
  using Target = uint16_t;
  HFLOAD_HOST_DEVICE static Target convert(Source bits) { return bf16_from_f32(f32_from_f16(bits)); }
};

template <>
struct CastElement<CastKind::bf16_to_f16> {
  using Source = uint16_t;
  using Target = uint16_t;
  HFLOAD_HOST_DEVICE static Target convert(Source bits) { return f16_from_f32(f32_from_bf16(bits)); }
};

}  // namespace hfload
