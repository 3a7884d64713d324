#pragma once

#include "kernels/gemm_elements.cuh"
#include "kernels/gemm_epilogue.h"
#include "kernels/gemm_tiles.h"

namespace hfload {

/// Makes `count` neighbouring elements of C out of their sums over K: scales, adds C and the epilogue,
/// rounds. Elements past the row's end are dropped.
template <GemmDtype dtype, int count>
__device__ __forceinline__ void store_row_part(const Gemm& gemm, int32_t entry, int32_t row, int32_t column,
                                               float (&x)[count]) {
  using Bits = typename GemmElement<dtype>::Bits;
  const auto left = static_cast<int32_t>(gemm.n) - column;
  const int32_t valid = left < count ? left : count;
  Bits* const target =
      static_cast<Bits*>(gemm.c.data) + entry * gemm.c.batch_stride + row * gemm.c.ld + column;
  float bias[count] = {};
  float d[count] = {};
#pragma unroll
  for (int i = 0; i < count; ++i) x[i] *= gemm.alpha;
  if (gemm.beta != 0.0F) {
    float c[count];
    load_elements<dtype>(target, valid, c);
#pragma unroll
    for (int i = 0; i < count; ++i) x[i] += gemm.beta * c[i];
  }
  if (gemm_has_bias(gemm.epilogue)) {
    load_elements<dtype>(static_cast<const Bits*>(gemm.bias) + column, valid, bias);
  }
  if (gemm_has_operand(gemm.epilogue))
    load_elements<dtype>(element_at<dtype>(gemm.d, entry, row, column), valid, d);
  apply_epilogue(gemm.epilogue, x, bias, d);
  store_elements<dtype>(target, valid, x);
}

__device__ inline int64_t partial_index(const GemmTiling& tiling, int32_t entry, int32_t split, int32_t row,
                                        int32_t column) {
  return ((static_cast<int64_t>(split) * tiling.batch + entry) * tiling.m + row) * tiling.n + column;
}

/// Sums over a range of K: finished where that is all of K, else kept as partial sums.
template <GemmDtype dtype, int count>
__device__ __forceinline__ void store_sums(const Gemm& gemm, const GemmTiling& tiling, float* partials,
                                           const GemmWork& work, int32_t row, int32_t column,
                                           float (&x)[count]) {
  if (row >= tiling.m || column >= tiling.n) return;
  if (tiling.splits == 1) {
    store_row_part<dtype>(gemm, work.entry, row, column, x);
    return;
  }
  float* const target = partials + partial_index(tiling, work.entry, work.split, row, column);
#pragma unroll
  for (int i = 0; i < count; ++i) {
    if (column + i < tiling.n) target[i] = x[i];
  }
}

/// Stores a part of a tile whose sums lie in shared memory, [rows, columns] of them with result_stride, from
/// C's [row, column] on. `threads` threads call it together.
template <GemmDtype dtype, uint32_t rows, uint32_t columns, uint32_t threads>
__device__ __forceinline__ void store_tile(const Gemm& gemm, const GemmTiling& tiling, float* partials,
                                           const GemmWork& work, int32_t row, int32_t column,
                                           const float* results, uint32_t thread) {
  constexpr int kCount = GemmElement<dtype>::kPerVector;
  constexpr uint32_t kPerRow = columns / kCount;
#pragma unroll 1
  for (uint32_t i = thread; i < rows * kPerRow; i += threads) {
    const uint32_t r = i / kPerRow;
    const uint32_t c = i % kPerRow * kCount;
    float x[kCount];
#pragma unroll
    for (int j = 0; j < kCount; j += 4) {
      const float4 four = *reinterpret_cast<const float4*>(results + r * result_stride(columns) + c + j);
      x[j] = four.x;
      x[j + 1] = four.y;
      x[j + 2] = four.z;
      x[j + 3] = four.w;
    }
    store_sums<dtype>(gemm, tiling, partials, work, row + static_cast<int32_t>(r),
                      column + static_cast<int32_t>(c), x);
  }
}

}  // namespace hfload
