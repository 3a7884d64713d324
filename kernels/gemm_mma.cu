#include <cuda_runtime_api.h>

#include "kernels/gemm_half_words.cuh"
#include "kernels/gemm_launch.h"
#include "kernels/gemm_pipeline.cuh"
#include "kernels/gemm_start.cuh"

namespace hfload {
namespace {

/// A block's tile of C on the tensor cores: 64 elements along K in a stage, rows of 128 bytes, swizzled, with
/// zeros past the edges; warps take their fragments by ldmatrix. A and B are read by `load_bytes`, at
/// multiples of which their rows begin.
template <GemmDtype dtype, uint32_t tile_m, uint32_t tile_n, uint32_t warps_m, uint32_t warps_n,
          uint32_t stages, uint32_t load_bytes>
struct MmaTile {
  static constexpr GemmDtype kDtype = dtype;
  static constexpr uint32_t kTileM = tile_m, kTileN = tile_n, kStages = stages;
  static constexpr uint32_t kDepth = 64, kRowBytes = kDepth * 2;
  static constexpr uint32_t kThreads = warps_m * warps_n * 32;
  static constexpr uint32_t kWarpM = tile_m / warps_m, kWarpN = tile_n / warps_n;
  static constexpr uint32_t kBlocksM = kWarpM / 16, kBlocksN = kWarpN / 8;
  static constexpr uint32_t kThreadsPerRow = kRowBytes / load_bytes;
  using Sums = float[kBlocksM][kBlocksN][4];
  static_assert(kWarpM % 16 == 0 && kWarpN % 16 == 0 && tile_m * kThreadsPerRow % kThreads == 0 &&
                tile_n * kThreadsPerRow % kThreads == 0);

  /// Starts the copy of `rows` rows of one operand; row `first + i` goes to row i of the tile.
  template <uint32_t rows>
  __device__ static void copy(unsigned char* to, const GemmInput& input, int32_t entry, int32_t first,
                              int32_t row_count, int32_t k, int32_t k_count) {
    const uint32_t in_row = threadIdx.x % kThreadsPerRow * load_bytes;
    const int32_t column = k + static_cast<int32_t>(in_row / 2);
    const int32_t left = (k_count - column) * 2;
    const uint32_t bytes = left <= 0                                 ? 0
                           : left < static_cast<int32_t>(load_bytes) ? static_cast<uint32_t>(left)
                                                                     : load_bytes;
    const uint32_t tile = shared_address(to);
#pragma unroll
    for (uint32_t row = threadIdx.x / kThreadsPerRow; row < rows; row += kThreads / kThreadsPerRow) {
      const int32_t at = first + static_cast<int32_t>(row);
      cp_async<load_bytes>(tile + swizzled_chunk(row, in_row / 16) + in_row % 16,
                           element_at<dtype>(input, entry, at, column), at < row_count ? bytes : 0);
    }
  }

  /// Multiplies one stage into this warp's accumulators.
  __device__ static void multiply(const unsigned char* from, Sums& sums) {
    const uint32_t stage = shared_address(from);
    const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const uint32_t a_row = warp / warps_n * kWarpM + a_fragment(lane).row;
    const uint32_t b_row = warp % warps_n * kWarpN + b_fragment(lane).row;
    const uint32_t b_tile = stage + tile_m * kRowBytes;
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

  __device__ static void stage_results(float* results, const Sums& sums) {
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

/// For rows that cp.async cannot copy, which takes 4 bytes from a multiple of 4 at least.
template <GemmDtype dtype>
struct HalfWordTile : MmaTile<dtype, 64, 64, 2, 2, 2, 16> {
  using Base = MmaTile<dtype, 64, 64, 2, 2, 2, 16>;
  struct Held {
    HeldRows<Base::kTileM, Base::kThreads> a;
    HeldRows<Base::kTileN, Base::kThreads> b;
  };
};

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads)
    mma_half_word_kernel(const __grid_constant__ Gemm gemm, const __grid_constant__ GemmTiling tiling,
                         float* partials) {
  run_pipeline_by_registers<Tile>(gemm, tiling, partials);
}

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads)
    mma_kernel(const __grid_constant__ Gemm gemm, const __grid_constant__ GemmTiling tiling,
               float* partials) {
  run_pipeline<Tile>(gemm, tiling, partials);
}

template <class Tile>
int start(const Gemm& gemm, const GemmPlan& plan, float* partials, cudaStream_t stream) {
  return start_kernel(mma_kernel<Tile>, {plan.blocks, Tile::kThreads, plan.shared_bytes}, stream, gemm,
                      plan.tiling, partials);
}

template <class Tile>
int start_half_words(const Gemm& gemm, const GemmPlan& plan, float* partials, cudaStream_t stream) {
  return start_kernel(mma_half_word_kernel<Tile>, {plan.blocks, Tile::kThreads, plan.shared_bytes}, stream,
                      gemm, plan.tiling, partials);
}

template <GemmDtype dtype>
int start_tile(const Gemm& gemm, const GemmPlan& plan, float* partials, cudaStream_t stream) {
  if (plan.rule.aligned == 2) return start_half_words<HalfWordTile<dtype>>(gemm, plan, partials, stream);
  if (plan.rule.aligned == 4) return start<MmaTile<dtype, 64, 64, 2, 2, 4, 4>>(gemm, plan, partials, stream);
  if (plan.rule.tile_m == 16) return start<MmaTile<dtype, 16, 64, 1, 4, 6, 16>>(gemm, plan, partials, stream);
  if (plan.rule.tile_m == 64) return start<MmaTile<dtype, 64, 64, 2, 2, 4, 16>>(gemm, plan, partials, stream);
  return start<MmaTile<dtype, 128, 128, 2, 4, 3, 16>>(gemm, plan, partials, stream);
}

}  // namespace

int launch_mma(const Gemm& gemm, const GemmPlan& plan, float* partials, CUstream_st* stream) {
  return gemm.dtype == GemmDtype::bf16 ? start_tile<GemmDtype::bf16>(gemm, plan, partials, stream)
                                       : start_tile<GemmDtype::f16>(gemm, plan, partials, stream);
}

}  // namespace hfload
