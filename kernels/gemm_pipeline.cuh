#pragma once

#include "kernels/gemm_ptx.cuh"
#include "kernels/gemm_store.cuh"

namespace hfload {

/// Starts the copies of the tiles of A and of B at `unit` along K.
template <class Tile>
__device__ void copy_stage(unsigned char* to, const Gemm& gemm, const GemmTiling& tiling,
                           const GemmWork& work, int32_t unit) {
  const int32_t k = unit * static_cast<int32_t>(Tile::kDepth);
  Tile::template copy<Tile::kTileM>(to, gemm.a, work.entry, work.row, tiling.m, k, tiling.k);
  Tile::template copy<Tile::kTileN>(to + Tile::kTileM * Tile::kRowBytes, gemm.b, work.entry, work.column,
                                    tiling.n, k, tiling.k);
}

/// Stores the sums of a work item when all threads are done with the ring, and leaves it to the next item.
template <class Tile>
__device__ void finish_item(const Gemm& gemm, const GemmTiling& tiling, float* partials, const GemmWork& work,
                            unsigned char* ring, const typename Tile::Sums& sums) {
  __syncthreads();
  auto* const results = reinterpret_cast<float*>(ring);
  Tile::stage_results(results, sums);
  __syncthreads();
  store_tile<Tile::kDtype, Tile::kTileM, Tile::kTileN, Tile::kThreads>(gemm, tiling, partials, work, work.row,
                                                                       work.column, results, threadIdx.x);
  __syncthreads();
}

/// Makes this block's tiles of C: `Tile::kStages` - 1 stages of A and B are copied ahead into a ring in
/// shared memory (cp.async), while `Tile` multiplies the one before them into its sums.
template <class Tile>
__device__ void run_pipeline(const Gemm& gemm, const GemmTiling& tiling, float* partials) {
  constexpr auto kStages = static_cast<int32_t>(Tile::kStages);
  constexpr uint32_t kStageBytes = (Tile::kTileM + Tile::kTileN) * Tile::kRowBytes;
  unsigned char* const ring = dynamic_shared();
  const auto stage = [&](int32_t u) { return ring + static_cast<uint32_t>(u % kStages) * kStageBytes; };
  for (int64_t item = blockIdx.x; item < tiling.items(); item += gridDim.x) {
    const GemmWork work = gemm_work(tiling, item);
    const int32_t units = work.unit_end - work.unit_begin;
    typename Tile::Sums sums = {};
    // A group is committed for every stage, also an empty one, so that the count of groups tells the stage.
    for (int32_t u = 0; u < kStages - 1; ++u) {
      if (u < units) copy_stage<Tile>(stage(u), gemm, tiling, work, work.unit_begin + u);
      cp_async_commit();
    }
#pragma unroll 1
    for (int32_t u = 0; u < units; ++u) {
      cp_async_wait<kStages - 2>();
      __syncthreads();
      const int32_t ahead = u + kStages - 1;
      if (ahead < units) copy_stage<Tile>(stage(ahead), gemm, tiling, work, work.unit_begin + ahead);
      cp_async_commit();
      Tile::multiply(stage(u), sums);
    }
    cp_async_wait<0>();
    finish_item<Tile>(gemm, tiling, partials, work, ring, sums);
  }
}

/// The same for tiles that cp.async cannot copy: a stage comes through registers, into which it is read while
/// `Tile` multiplies the one before.
template <class Tile>
__device__ void run_pipeline_by_registers(const Gemm& gemm, const GemmTiling& tiling, float* partials) {
  static_assert(Tile::kStages == 2);
  constexpr uint32_t kStageBytes = (Tile::kTileM + Tile::kTileN) * Tile::kRowBytes;
  unsigned char* const ring = dynamic_shared();
  for (int64_t item = blockIdx.x; item < tiling.items(); item += gridDim.x) {
    const GemmWork work = gemm_work(tiling, item);
    typename Tile::Sums sums = {};
    typename Tile::Held held;
    const auto fetch = [&](int32_t unit) {
      const int32_t k = unit * static_cast<int32_t>(Tile::kDepth);
      held.a.template fetch<Tile::kDtype>(gemm.a, work.entry, work.row, tiling.m, k, tiling.k);
      held.b.template fetch<Tile::kDtype>(gemm.b, work.entry, work.column, tiling.n, k, tiling.k);
    };
    fetch(work.unit_begin);
#pragma unroll 1
    for (int32_t unit = work.unit_begin; unit < work.unit_end; ++unit) {
      // Of two stages one may still be multiplied by other threads; this is the other.
      unsigned char* const stage = ring + static_cast<uint32_t>(unit % 2) * kStageBytes;
      held.a.put(stage);
      held.b.put(stage + Tile::kTileM * Tile::kRowBytes);
      __syncthreads();
      if (unit + 1 < work.unit_end) fetch(unit + 1);
      Tile::multiply(stage, sums);
    }
    finish_item<Tile>(gemm, tiling, partials, work, ring, sums);
  }
}

}  // namespace hfload
