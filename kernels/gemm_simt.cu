#include <cuda_runtime_api.h>

#include "kernels/gemm_launch.h"
#include "kernels/gemm_pipeline.cuh"
#include "kernels/gemm_start.cuh"

namespace hfload {
namespace {

constexpr uint32_t kWarpM = 64, kWarpN = 32;

/// True fp32 without tensor cores. Tiles lie with K outermost in shared memory, transposed by copies of 4
/// bytes each, which need no alignment; a thread keeps 8 x 8 sums in registers, a warp 64 x 32.
template <uint32_t tile_m, uint32_t tile_n, uint32_t stages>
struct SimtTile {
  static constexpr GemmDtype kDtype = GemmDtype::f32;
  static constexpr uint32_t kTileM = tile_m, kTileN = tile_n, kStages = stages;
  static constexpr uint32_t kDepth = 16, kRowBytes = kDepth * 4;
  static constexpr uint32_t kWarpsN = tile_n / kWarpN;
  static constexpr uint32_t kThreads = tile_m / kWarpM * kWarpsN * 32;
  using Sums = float[8][8];

  template <uint32_t rows>
  __device__ static void copy(unsigned char* to, const GemmInput& input, int32_t entry, int32_t first,
                              int32_t row_count, int32_t k, int32_t k_count) {
    constexpr uint32_t kStep = kThreads / 8;
    // 8 neighbours along K of 4 rows for each warp: whole sectors of memory, and all banks.
    const uint32_t depth = threadIdx.x % 8;
    const uint32_t first_of_thread = threadIdx.x / 8;
    const uint32_t tile = shared_address(to);
    const int32_t row = first + static_cast<int32_t>(first_of_thread);
    const int32_t column = k + static_cast<int32_t>(depth);
    const float* from = element_at<GemmDtype::f32>(input, entry, row, column);
#pragma unroll 1
    for (uint32_t i = 0; i < rows; i += kStep) {
      const bool in_rows = row + static_cast<int32_t>(i) < row_count;
#pragma unroll
      for (uint32_t half = 0; half < kDepth; half += 8) {
        const bool valid = in_rows && column + static_cast<int32_t>(half) < k_count;
        cp_async<4>(tile + 4 * swizzled_float(depth + half, first_of_thread + i, rows), from + half,
                    valid ? 4 : 0);
      }
      from += kStep * input.ld;
    }
  }

  /// The first of this thread's rows and columns in the tile; 4 from there on, and 4 half a warp tile
  /// further.
  __device__ static uint32_t first_row() {
    return threadIdx.x / 32 / kWarpsN * kWarpM + threadIdx.x % 32 / 4 * 4;
  }
  __device__ static uint32_t first_column() {
    return threadIdx.x / 32 % kWarpsN * kWarpN + threadIdx.x % 4 * 4;
  }

  __device__ static void multiply(const unsigned char* from, Sums& sums) {
    const auto* const stage = reinterpret_cast<const float*>(from);
    const uint32_t row = first_row(), column = first_column();
    const float* const b_tile = stage + tile_m * kDepth;
#pragma unroll
    for (uint32_t k = 0; k < kDepth; ++k) {
      float4 a[2], b[2];
#pragma unroll
      for (uint32_t half = 0; half < 2; ++half) {
        a[half] =
            *reinterpret_cast<const float4*>(stage + swizzled_float(k, row + half * kWarpM / 2, tile_m));
        b[half] =
            *reinterpret_cast<const float4*>(b_tile + swizzled_float(k, column + half * kWarpN / 2, tile_n));
      }
      const float x[8] = {a[0].x, a[0].y, a[0].z, a[0].w, a[1].x, a[1].y, a[1].z, a[1].w};
      const float y[8] = {b[0].x, b[0].y, b[0].z, b[0].w, b[1].x, b[1].y, b[1].z, b[1].w};
#pragma unroll
      for (uint32_t i = 0; i < 8; ++i) {
#pragma unroll
        for (uint32_t j = 0; j < 8; ++j) sums[i][j] += x[i] * y[j];
      }
    }
  }

  __device__ static void stage_results(float* results, const Sums& sums) {
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) {
      const uint32_t row = first_row() + i % 4 + i / 4 * kWarpM / 2;
#pragma unroll
      for (uint32_t half = 0; half < 2; ++half) {
        const float* const four = sums[i] + half * 4;
        *reinterpret_cast<float4*>(results + row * result_stride(tile_n) + first_column() +
                                   half * kWarpN / 2) = make_float4(four[0], four[1], four[2], four[3]);
      }
    }
  }
};

template <class Tile, uint32_t blocks_per_sm>
__global__ void __launch_bounds__(Tile::kThreads, blocks_per_sm)
    simt_kernel(const __grid_constant__ Gemm gemm, const __grid_constant__ GemmTiling tiling,
                float* partials) {
  run_pipeline<Tile>(gemm, tiling, partials);
}

template <class Tile, uint32_t blocks_per_sm>
int start(const Gemm& gemm, const GemmPlan& plan, float* partials, cudaStream_t stream) {
  return start_kernel(simt_kernel<Tile, blocks_per_sm>, {plan.blocks, Tile::kThreads, plan.shared_bytes},
                      stream, gemm, plan.tiling, partials);
}

}  // namespace

int launch_simt(const Gemm& gemm, const GemmPlan& plan, float* partials, CUstream_st* stream) {
  return plan.rule.tile_m == 128 ? start<SimtTile<128, 128, 3>, 2>(gemm, plan, partials, stream)
                                 : start<SimtTile<64, 64, 4>, 4>(gemm, plan, partials, stream);
}

}  // namespace hfload
