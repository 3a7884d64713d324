#include <cuda_runtime_api.h>

#include "kernels/gemm_launch.h"
#include "kernels/gemm_start.cuh"
#include "kernels/gemm_store.cuh"

namespace hfload {
namespace {

/// The first step: every thread makes one element, and reads a row of A and of B from memory for it.
template <GemmDtype dtype>
__global__ void __launch_bounds__(256)
    naive_kernel(const __grid_constant__ Gemm gemm, const __grid_constant__ GemmTiling tiling) {
  for (int64_t item = blockIdx.x; item < tiling.items(); item += gridDim.x) {
    const GemmWork work = gemm_work(tiling, item);
    const int32_t row = work.row + static_cast<int32_t>(threadIdx.x / 16);
    const int32_t column = work.column + static_cast<int32_t>(threadIdx.x % 16);
    if (row >= tiling.m || column >= tiling.n) continue;
    const auto* const a = element_at<dtype>(gemm.a, work.entry, row, 0);
    const auto* const b = element_at<dtype>(gemm.b, work.entry, column, 0);
    float sum[1] = {0.0F};
    for (int32_t k = 0; k < tiling.k; ++k) {
      sum[0] += GemmElement<dtype>::to_float(a[k]) * GemmElement<dtype>::to_float(b[k]);
    }
    store_row_part<dtype>(gemm, work.entry, row, column, sum);
  }
}

/// The second step: a block shares a tile of A and of B in shared memory, so that each element of them is
/// read once a block instead of 32 times.
template <GemmDtype dtype>
__global__ void __launch_bounds__(256)
    tiled_kernel(const __grid_constant__ Gemm gemm, const __grid_constant__ GemmTiling tiling) {
  constexpr int kTile = 32;
  constexpr int kRows = 8;                    // of threads; each makes every 8th row's element
  __shared__ float a_tile[kTile][kTile + 1];  // the odd stride spreads a column over all banks
  __shared__ float b_tile[kTile][kTile + 1];
  const auto x = static_cast<int32_t>(threadIdx.x % kTile);
  const auto y = static_cast<int32_t>(threadIdx.x / kTile);
  for (int64_t item = blockIdx.x; item < tiling.items(); item += gridDim.x) {
    const GemmWork work = gemm_work(tiling, item);
    float sums[kTile / kRows][1] = {};
    for (int32_t k = 0; k < tiling.k; k += kTile) {
      for (int32_t i = y; i < kTile; i += kRows) {
        const bool in_k = k + x < tiling.k;
        a_tile[i][x] =
            in_k && work.row + i < tiling.m
                ? GemmElement<dtype>::to_float(*element_at<dtype>(gemm.a, work.entry, work.row + i, k + x))
                : 0.0F;
        b_tile[i][x] =
            in_k && work.column + i < tiling.n
                ? GemmElement<dtype>::to_float(*element_at<dtype>(gemm.b, work.entry, work.column + i, k + x))
                : 0.0F;
      }
      __syncthreads();
#pragma unroll 8
      for (int32_t i = 0; i < kTile; ++i) {
#pragma unroll
        for (int32_t r = 0; r < kTile / kRows; ++r) sums[r][0] += a_tile[y + r * kRows][i] * b_tile[x][i];
      }
      __syncthreads();
    }
#pragma unroll 1
    for (int32_t r = 0; r < kTile / kRows; ++r) {
      // A register array cannot be indexed by a loop that is not unrolled.
      float sum[1] = {r == 0 ? sums[0][0] : r == 1 ? sums[1][0] : r == 2 ? sums[2][0] : sums[3][0]};
      store_sums<dtype>(gemm, tiling, nullptr, work, work.row + y + r * kRows, work.column + x, sum);
    }
  }
}

template <GemmDtype dtype>
int start(bool tiled, const Gemm& gemm, const GemmPlan& plan, cudaStream_t stream) {
  return start_kernel(tiled ? tiled_kernel<dtype> : naive_kernel<dtype>, {plan.blocks, 256}, stream, gemm,
                      plan.tiling);
}

int start_any(bool tiled, const Gemm& gemm, const GemmPlan& plan, cudaStream_t stream) {
  if (gemm.dtype == GemmDtype::f32) return start<GemmDtype::f32>(tiled, gemm, plan, stream);
  if (gemm.dtype == GemmDtype::f16) return start<GemmDtype::f16>(tiled, gemm, plan, stream);
  return start<GemmDtype::bf16>(tiled, gemm, plan, stream);
}

}  // namespace

int launch_naive(const Gemm& gemm, const GemmPlan& plan, CUstream_st* stream) {
  return start_any(false, gemm, plan, stream);
}

int launch_tiled(const Gemm& gemm, const GemmPlan& plan, CUstream_st* stream) {
  return start_any(true, gemm, plan, stream);
}

}  // namespace hfload
