#include <cuda_runtime_api.h>

#include "kernels/gemm_launch.h"
#include "kernels/gemm_ptx.cuh"
#include "kernels/gemm_start.cuh"
#include "kernels/gemm_store.cuh"

namespace hfload {
namespace {

constexpr uint32_t kDepth = 64;  // elements along K in a stage: rows of 128 bytes

/// A block makes a tile of C: `stages` tiles of A and B are copied ahead (cp.async, swizzled, zeros past the
/// edges) while warps take their fragments by ldmatrix and multiply them on the tensor cores.
template <GemmDtype dtype, uint32_t tile_m, uint32_t tile_n, uint32_t warps_m, uint32_t warps_n,
          uint32_t stages>
struct MmaTile {
  static constexpr uint32_t kThreads = warps_m * warps_n * 32;
  static constexpr uint32_t kWarpM = tile_m / warps_m, kWarpN = tile_n / warps_n;
  static constexpr uint32_t kBlocksM = kWarpM / 16, kBlocksN = kWarpN / 8;
  static constexpr uint32_t kStageBytes = (tile_m + tile_n) * kDepth * 2;
  static_assert(kWarpM % 16 == 0 && kWarpN % 16 == 0 && tile_m * 8 % kThreads == 0 &&
                tile_n * 8 % kThreads == 0);

  /// Starts the copy of `rows` rows of one operand; row `first + i` goes to row i of the tile.
  template <uint32_t rows>
  __device__ static void copy(uint32_t to, const GemmInput& input, int32_t entry, int32_t first,
                              int32_t row_count, int32_t k, int32_t k_count) {
    const uint32_t chunk = threadIdx.x % 8;
    const int32_t column = k + static_cast<int32_t>(chunk * 8);
    const int32_t left = (k_count - column) * 2;
    const uint32_t in_row = left <= 0 ? 0 : left < 16 ? static_cast<uint32_t>(left) : 16;
#pragma unroll
    for (uint32_t row = threadIdx.x / 8; row < rows; row += kThreads / 8) {
      const int32_t at = first + static_cast<int32_t>(row);
      const uint32_t valid = at < row_count ? in_row : 0;
      cp_async_16(to + swizzled_chunk(row, chunk), element_at<dtype>(input, entry, at, column), valid);
    }
  }

  __device__ static void copy_stage(uint32_t to, const Gemm& gemm, const GemmTiling& tiling,
                                    const GemmWork& work, int32_t unit) {
    const int32_t k = unit * static_cast<int32_t>(kDepth);
    copy<tile_m>(to, gemm.a, work.entry, work.row, tiling.m, k, tiling.k);
    copy<tile_n>(to + tile_m * kDepth * 2, gemm.b, work.entry, work.column, tiling.n, k, tiling.k);
  }

  /// Multiplies one stage into this warp's accumulators.
  __device__ static void multiply(uint32_t stage, float (&sums)[kBlocksM][kBlocksN][4]) {
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const uint32_t a_row = warp / warps_n * kWarpM + a_fragment(lane).row;
    const uint32_t b_row = warp % warps_n * kWarpN + b_fragment(lane).row;
    const uint32_t b_tile = stage + tile_m * kDepth * 2;
#pragma unroll
    for (uint32_t step = 0; step < kDepth / 16; ++step) {
      uint32_t a[kBlocksM][4];
      uint32_t b[kBlocksN / 2][4];
#pragma unroll
      for (uint32_t i = 0; i < kBlocksM; ++i) {
        ldmatrix_x4(a[i], stage + swizzled_chunk(a_row + i * 16, step * 2 + a_fragment(lane).chunk));
      }
#pragma unroll
      for (uint32_t j = 0; j < kBlocksN / 2; ++j) {
        ldmatrix_x4(b[j], b_tile + swizzled_chunk(b_row + j * 16, step * 2 + b_fragment(lane).chunk));
      }
#pragma unroll
      for (uint32_t i = 0; i < kBlocksM; ++i) {
#pragma unroll
        for (uint32_t j = 0; j < kBlocksN; ++j) {
          mma_m16n8k16<dtype>(sums[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
        }
      }
    }
  }

  __device__ static void stage_results(float* results, const float (&sums)[kBlocksM][kBlocksN][4]) {
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
    for (uint32_t i = 0; i < kBlocksM; ++i) {
#pragma unroll
      for (uint32_t j = 0; j < kBlocksN * 4; j += 2) {
        const AccumulatorPlace place = accumulator_place(lane, j);
        const uint32_t row = warp / warps_n * kWarpM + i * 16 + place.row;
        const uint32_t column = warp % warps_n * kWarpN + place.column;
        *reinterpret_cast<float2*>(results + row * result_stride(tile_n) + column) =
            make_float2(sums[i][j / 4][j % 4], sums[i][j / 4][j % 4 + 1]);
      }
    }
  }
};

template <GemmDtype dtype, uint32_t tile_m, uint32_t tile_n, uint32_t warps_m, uint32_t warps_n,
          uint32_t stages>
__global__ void __launch_bounds__(warps_m* warps_n * 32)
    mma_kernel(const __grid_constant__ Gemm gemm, const __grid_constant__ GemmTiling tiling,
               float* partials) {
  using Tile = MmaTile<dtype, tile_m, tile_n, warps_m, warps_n, stages>;
  unsigned char* const ring = dynamic_shared();
  const uint32_t ring_address = shared_address(ring);
  for (int64_t item = blockIdx.x; item < tiling.items(); item += gridDim.x) {
    const GemmWork work = gemm_work(tiling, item);
    const int32_t units = work.unit_end - work.unit_begin;
    float sums[Tile::kBlocksM][Tile::kBlocksN][4] = {};
    // A group is committed for every stage, also an empty one, so that the count of groups tells the stage.
    for (int32_t u = 0; u < static_cast<int32_t>(stages) - 1; ++u) {
      if (u < units) {
        Tile::copy_stage(ring_address + static_cast<uint32_t>(u) * Tile::kStageBytes, gemm, tiling, work,
                         work.unit_begin + u);
      }
      cp_async_commit();
    }
#pragma unroll 1
    for (int32_t u = 0; u < units; ++u) {
      cp_async_wait<static_cast<int>(stages) - 2>();
      __syncthreads();
      const int32_t ahead = u + static_cast<int32_t>(stages) - 1;
      if (ahead < units) {
        Tile::copy_stage(ring_address + static_cast<uint32_t>(ahead) % stages * Tile::kStageBytes, gemm,
                         tiling, work, work.unit_begin + ahead);
      }
      cp_async_commit();
      Tile::multiply(ring_address + static_cast<uint32_t>(u) % stages * Tile::kStageBytes, sums);
    }
    cp_async_wait<0>();
    __syncthreads();
    auto* const results = reinterpret_cast<float*>(ring);
    Tile::stage_results(results, sums);
    __syncthreads();
    store_tile<dtype, tile_m, tile_n, Tile::kThreads>(gemm, tiling, partials, work, work.row, work.column,
                                                      results, threadIdx.x);
    __syncthreads();
  }
}

template <GemmDtype dtype, uint32_t tile_m, uint32_t tile_n, uint32_t warps_m, uint32_t warps_n,
          uint32_t stages>
int start(const Gemm& gemm, const GemmPlan& plan, float* partials, cudaStream_t stream) {
  return start_kernel(mma_kernel<dtype, tile_m, tile_n, warps_m, warps_n, stages>, plan.blocks,
                      warps_m * warps_n * 32, plan.shared_bytes, stream, gemm, plan.tiling, partials);
}

template <GemmDtype dtype>
int start_tile(const Gemm& gemm, const GemmPlan& plan, float* partials, cudaStream_t stream) {
  if (plan.rule.tile_m == 16) return start<dtype, 16, 64, 1, 4, 6>(gemm, plan, partials, stream);
  if (plan.rule.tile_m == 64) return start<dtype, 64, 64, 2, 2, 4>(gemm, plan, partials, stream);
  return start<dtype, 128, 128, 2, 4, 3>(gemm, plan, partials, stream);
}

}  // namespace

int launch_mma(const Gemm& gemm, const GemmPlan& plan, float* partials, CUstream_st* stream) {
  return gemm.dtype == GemmDtype::bf16 ? start_tile<GemmDtype::bf16>(gemm, plan, partials, stream)
                                       : start_tile<GemmDtype::f16>(gemm, plan, partials, stream);
}

}  // namespace hfload
