#pragma once

#include <cstdint>

#include "kernels/gemm.h"
#include "kernels/gemm_ptx.cuh"

namespace hfload {

/// Elements in memory and as floats.
template <GemmDtype dtype>
struct GemmElement {
  using Bits = uint16_t;
  static constexpr int kPerVector = 8;  ///< in 16 bytes

  __device__ static float to_float(Bits bits) {
    if constexpr (dtype == GemmDtype::bf16) {
      return __uint_as_float(static_cast<uint32_t>(bits) << 16);
    } else {
      return float_from_f16(bits);
    }
  }
  __device__ static Bits from_float(float value) {
    if constexpr (dtype == GemmDtype::bf16) {
      return bf16_from_float(value);
    } else {
      return f16_from_float(value);
    }
  }
};

template <>
struct GemmElement<GemmDtype::f32> {
  using Bits = float;
  static constexpr int kPerVector = 4;

  __device__ static float to_float(Bits value) { return value; }
  __device__ static Bits from_float(float value) { return value; }
};

/// 16 bytes in registers, as elements.
template <GemmDtype dtype>
union GemmVector {
  uint4 words;
  typename GemmElement<dtype>::Bits elements[GemmElement<dtype>::kPerVector];
};

template <GemmDtype dtype>
__device__ const typename GemmElement<dtype>::Bits* element_at(const GemmInput& input, int32_t entry,
                                                               int64_t row, int64_t column) {
  return static_cast<const typename GemmElement<dtype>::Bits*>(input.data) + entry * input.batch_stride +
         row * input.ld + column;
}

__device__ inline bool is_vector_aligned(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % 16 == 0;
}

/// `count` neighbouring elements, `valid` of which exist; the others become 0.
template <GemmDtype dtype, int count>
__device__ void load_elements(const typename GemmElement<dtype>::Bits* from, int32_t valid,
                              float (&to)[count]) {
  using Element = GemmElement<dtype>;
  if constexpr (count == Element::kPerVector) {
    if (valid >= count && is_vector_aligned(from)) {
      GemmVector<dtype> vector;
      vector.words = *reinterpret_cast<const uint4*>(from);
#pragma unroll
      for (int i = 0; i < count; ++i) to[i] = Element::to_float(vector.elements[i]);
      return;
    }
  }
#pragma unroll
  for (int i = 0; i < count; ++i) to[i] = i < valid ? Element::to_float(from[i]) : 0.0F;
}

template <GemmDtype dtype, int count>
__device__ void store_elements(typename GemmElement<dtype>::Bits* to, int32_t valid,
                               const float (&from)[count]) {
  using Element = GemmElement<dtype>;
  if constexpr (count == Element::kPerVector) {
    if (valid >= count && is_vector_aligned(to)) {
      GemmVector<dtype> vector;
#pragma unroll
      for (int i = 0; i < count; ++i) vector.elements[i] = Element::from_float(from[i]);
      *reinterpret_cast<uint4*>(to) = vector.words;
      return;
    }
  }
#pragma unroll
  for (int i = 0; i < count; ++i) {
    if (i < valid) to[i] = Element::from_float(from[i]);
  }
}

}  // namespace hfload
