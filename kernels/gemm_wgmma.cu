#include <cuda.h>
#include <cuda_runtime_api.h>

#include "kernels/gemm_hopper.cuh"
#include "kernels/gemm_launch.h"
#include "kernels/gemm_ptx.cuh"
#include "kernels/gemm_start.cuh"
#include "kernels/gemm_store.cuh"

namespace hfload {
namespace {

constexpr uint32_t kTileM = 128;
constexpr uint32_t kDepth = 64;  // elements along K in a stage: rows of 128 bytes
constexpr uint32_t kWarpgroup = 128;
constexpr uint32_t kConsumers = 2;  // warpgroups; each makes 64 rows of the tile
constexpr uint32_t kThreads = (1 + kConsumers) * kWarpgroup;
constexpr uint32_t kChunk = 32;  // columns of results staged at once

// What __launch_bounds__ leaves a thread, 168 registers, is shared anew: 128 · 56 + 256 · 224 = 384 · 168.
[[maybe_unused]] constexpr int kProducerRegisters = 56;
[[maybe_unused]] constexpr int kConsumerRegisters = 224;

/// Where a block's shared memory holds what. The ring begins at a multiple of 1024 bytes, as the swizzle's
/// pattern repeats; the results of 64 rows for each consumer come after it, then the barriers.
template <uint32_t tile_n, uint32_t stages>
struct WgmmaLayout {
  static constexpr uint32_t kTileBytesA = kTileM * kDepth * 2;
  static constexpr uint32_t kStageBytes = (kTileM + tile_n) * kDepth * 2;
  static constexpr uint32_t kResults = stages * kStageBytes;
  static constexpr uint32_t kBarriers = kResults + kTileM * result_stride(kChunk) * 4;

  uint32_t ring;
  __device__ uint32_t a_tile(uint32_t stage) const { return ring + stage * kStageBytes; }
  __device__ uint32_t b_tile(uint32_t stage) const { return a_tile(stage) + kTileBytesA; }
  __device__ uint32_t full(uint32_t stage) const { return ring + kBarriers + stage * 8; }
  __device__ uint32_t empty(uint32_t stage) const { return full(stage + stages); }
};

/// The first work item of this block's cluster, and the distance to its next: the blocks of a cluster take
/// the same items in the same order.
[[maybe_unused]] __device__ inline int64_t first_item(const GemmTiling& tiling) {
  return blockIdx.x / static_cast<uint32_t>(tiling.cluster());
}
[[maybe_unused]] __device__ inline int64_t item_step(const GemmTiling& tiling) {
  return gridDim.x / static_cast<uint32_t>(tiling.cluster());
}

/// Starts the copy of a tile of `rows` rows. Where the two blocks of a cluster share it, each copies one half
/// to both.
template <uint32_t rows>
__device__ void copy_tile(uint32_t to, const CUtensorMap& map, uint32_t full, int32_t k, int32_t row,
                          int32_t entry, bool is_shared, uint32_t rank) {
  if (!is_shared) return tma_load(to, &map, full, k, row, entry);
  const uint32_t half = rank * (rows / 2);
  constexpr uint16_t kBoth = 0b11;
  tma_load_multicast(to + half * kDepth * 2, &map, full, k, row + static_cast<int32_t>(half), entry, kBoth);
}

/// One thread copies the tiles of all this block's work items into the ring, as far ahead as it has room; in
/// a cluster, as far as both blocks have. A block whose tile lies past C's edge does it all the same: its
/// peer needs its half.
template <uint32_t tile_n, uint32_t stages>
__device__ void produce(const WgmmaLayout<tile_n, stages>& layout, const CUtensorMap& a_map,
                        const CUtensorMap& b_map, const Gemm& gemm, const GemmTiling& tiling) {
  const uint32_t rank = cluster_rank();
  uint32_t use = 0;
  for (int64_t item = first_item(tiling); item < tiling.cluster_items(); item += item_step(tiling)) {
    const GemmWork work = cluster_work(tiling, item, static_cast<int32_t>(rank));
    const int32_t a_entry = gemm.a.batch_stride == 0 ? 0 : work.entry;
    const int32_t b_entry = gemm.b.batch_stride == 0 ? 0 : work.entry;
#pragma unroll 1
    for (int32_t unit = work.unit_begin; unit < work.unit_end; ++unit, ++use) {
      const PipelinePlace place = pipeline_place(use, stages);
      mbarrier_wait(layout.empty(place.stage), place.parity ^ 1);
      const uint32_t full = layout.full(place.stage);
      // Boxes past an edge count whole: the zeros are written too. The peer's half may come before this: the
      // phase waits for this arrival in any case.
      mbarrier_arrive_expect(full, WgmmaLayout<tile_n, stages>::kStageBytes);
      const int32_t k = unit * static_cast<int32_t>(kDepth);
      copy_tile<kTileM>(layout.a_tile(place.stage), a_map, full, k, work.row, a_entry, tiling.cluster_n > 1,
                        rank);
      copy_tile<tile_n>(layout.b_tile(place.stage), b_map, full, k, work.column, b_entry,
                        tiling.cluster_m > 1, rank);
    }
  }
}

/// A warp's 16 rows of results, `kChunk` columns at a time through shared memory, where neighbouring threads
/// find neighbouring columns.
template <GemmDtype dtype, uint32_t tile_n>
__device__ void store_results(const Gemm& gemm, const GemmTiling& tiling, float* partials,
                              const GemmWork& work, uint32_t warp_row, float* results,
                              const float (&sums)[tile_n / 2]) {
  const uint32_t lane = threadIdx.x % 32;
  constexpr uint32_t kSums = kChunk / 2;
#pragma unroll 1
  for (uint32_t chunk = 0; chunk < tile_n / kChunk; ++chunk) {
    // Registers cannot be indexed by a loop that is not unrolled, and unrolling the rest as well would be
    // much code.
#pragma unroll
    for (uint32_t c = 0; c < tile_n / kChunk; ++c) {
      if (c != chunk) continue;
#pragma unroll
      for (uint32_t i = 0; i < kSums; i += 2) {
        const AccumulatorPlace place = accumulator_place(lane, i);
        *reinterpret_cast<float2*>(results + place.row * result_stride(kChunk) + place.column) =
            make_float2(sums[c * kSums + i], sums[c * kSums + i + 1]);
      }
    }
    __syncwarp();
    store_tile<dtype, 16, kChunk, 32>(gemm, tiling, partials, work, work.row + static_cast<int32_t>(warp_row),
                                      work.column + static_cast<int32_t>(chunk * kChunk), results, lane);
    __syncwarp();
  }
}

template <GemmDtype dtype, uint32_t tile_n, uint32_t stages>
__device__ void consume(const WgmmaLayout<tile_n, stages>& layout, float* results, const Gemm& gemm,
                        const GemmTiling& tiling, float* partials) {
  const uint32_t consumer = threadIdx.x / kWarpgroup - 1;
  const uint32_t warp_row = consumer * 64 + threadIdx.x % kWarpgroup / 32 * 16;
  const uint32_t lane = threadIdx.x % 32;
  const auto blocks = static_cast<uint32_t>(tiling.cluster());
  const auto release = [&](uint32_t use) {
    // Each block's producer writes to this stage.
    const uint32_t empty = layout.empty(pipeline_place(use, stages).stage);
    if (lane < blocks) mbarrier_arrive_cluster(map_to_block(empty, lane));
  };
  const auto rank = static_cast<int32_t>(cluster_rank());
  uint32_t use = 0;
  for (int64_t item = first_item(tiling); item < tiling.cluster_items(); item += item_step(tiling)) {
    const GemmWork work = cluster_work(tiling, item, rank);
    float sums[tile_n / 2];
#pragma unroll
    for (uint32_t i = 0; i < tile_n / 2; ++i) sums[i] = 0.0F;
    const int32_t units = work.unit_end - work.unit_begin;
#pragma unroll 1
    for (int32_t u = 0; u < units; ++u, ++use) {
      const PipelinePlace place = pipeline_place(use, stages);
      mbarrier_wait(layout.full(place.stage), place.parity);
      const uint64_t a = wgmma_descriptor(layout.a_tile(place.stage) + consumer * 64 * kDepth * 2);
      const uint64_t b = wgmma_descriptor(layout.b_tile(place.stage));
      wgmma_fence();
#pragma unroll
      for (uint32_t step = 0; step < kDepth / 16; ++step) {
        // 16 elements further along K are 32 bytes, 2 in the descriptor's unit.
        wgmma<dtype>(sums, a + 2 * step, b + 2 * step, 1);
      }
      wgmma_commit();
      // The products of the stage before this one are done, so that it can be filled again.
      wgmma_wait<1>();
      if (u > 0) release(use - 1);
    }
    wgmma_wait<0>();
    release(use - 1);
    store_results<dtype, tile_n>(gemm, tiling, partials, work, warp_row,
                                 results + warp_row * result_stride(kChunk), sums);
  }
}

/// Persistent blocks, one for each multiprocessor, alone or in clusters of two that share a tile of A or of
/// B. In each, a producer copies tiles of A and B by TMA into a ring of stages, and two consumer warpgroups
/// multiply them by wgmma; mbarriers say which stage is full and which is empty. The producer copies the next
/// tile while the consumers store this one.
template <GemmDtype dtype, uint32_t tile_n, uint32_t stages>
__global__ void __launch_bounds__(kThreads, 1)
    wgmma_kernel(const __grid_constant__ CUtensorMap a_map, const __grid_constant__ CUtensorMap b_map,
                 const __grid_constant__ Gemm gemm, const __grid_constant__ GemmTiling tiling,
                 float* partials) {
  // Other architectures' code has no wgmma; the dispatch table does not choose this kernel there.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  unsigned char* const memory = dynamic_shared();
  using Layout = WgmmaLayout<tile_n, stages>;
  const uint32_t begin = shared_address(memory);
  const Layout layout{(begin + 1023) / 1024 * 1024};
  auto* const results = reinterpret_cast<float*>(memory + (layout.ring - begin) + Layout::kResults);
  if (threadIdx.x == 0) {
    prefetch_tensor_map(&a_map);
    prefetch_tensor_map(&b_map);
    for (uint32_t stage = 0; stage < stages; ++stage) {
      mbarrier_init(layout.full(stage), 1);
      mbarrier_init(layout.empty(stage),
                    kConsumers * kWarpgroup / 32 * static_cast<uint32_t>(tiling.cluster()));
    }
    mbarrier_init_fence();
  }
  cluster_sync();  // the peer's copies and arrivals need these barriers
  if (threadIdx.x < kWarpgroup) {
    give_registers_back<kProducerRegisters>();
    if (threadIdx.x == 0) produce(layout, a_map, b_map, gemm, tiling);
  } else {
    take_registers<kConsumerRegisters>();
    consume<dtype>(layout, results, gemm, tiling, partials);
  }
  cluster_sync();  // the peer may still arrive at these barriers
#endif
}

using EncodeTiled = decltype(&cuTensorMapEncodeTiled);

/// The driver's function, found at run time so that the program starts without a driver.
cudaError_t find_encode_tiled(EncodeTiled& function) {
  void* address = nullptr;
  cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
  const cudaError_t status =
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &address, 12000, cudaEnableDefault, &found);
#else
  const cudaError_t status =
      cudaGetDriverEntryPoint("cuTensorMapEncodeTiled", &address, cudaEnableDefault, &found);
#endif
  if (status != cudaSuccess) return status;
  function = reinterpret_cast<EncodeTiled>(address);
  return found == cudaDriverEntryPointSuccess && address != nullptr ? cudaSuccess : cudaErrorNotSupported;
}

/// A map of [batch, rows, k] elements, copied in boxes of [1, box_rows, kDepth].
cudaError_t make_map(EncodeTiled encode, const Gemm& gemm, const GemmInput& input, int64_t rows,
                     uint32_t box_rows, CUtensorMap& map) {
  const bool has_batch = gemm.batch > 1 && input.batch_stride != 0;
  // A stride that nothing is reached by may be anything to the caller, not to the driver.
  const int64_t row_bytes = rows > 1 ? input.ld * 2 : (gemm.k * 2 + 15) / 16 * 16;
  const int64_t batch_bytes = has_batch ? input.batch_stride * 2 : row_bytes * rows;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(gemm.k), static_cast<cuuint64_t>(rows),
                              static_cast<cuuint64_t>(has_batch ? gemm.batch : 1)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(row_bytes), static_cast<cuuint64_t>(batch_bytes)};
  const cuuint32_t box[] = {kDepth, box_rows, 1};
  const cuuint32_t steps[] = {1, 1, 1};
  const CUtensorMapDataType type =
      gemm.dtype == GemmDtype::bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  const CUresult result = encode(&map, type, 3, const_cast<void*>(input.data), sizes, strides, box, steps,
                                 CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

template <GemmDtype dtype, uint32_t tile_n, uint32_t stages>
int start(const Gemm& gemm, const GemmPlan& plan, float* partials, cudaStream_t stream) {
  EncodeTiled encode = nullptr;
  CUtensorMap a_map{}, b_map{};
  cudaError_t status = find_encode_tiled(encode);
  // A tile that two blocks share is copied by halves.
  const uint32_t a_rows = kTileM / static_cast<uint32_t>(plan.tiling.cluster_n);
  const uint32_t b_rows = tile_n / static_cast<uint32_t>(plan.tiling.cluster_m);
  if (status == cudaSuccess) status = make_map(encode, gemm, gemm.a, gemm.m, a_rows, a_map);
  if (status == cudaSuccess) status = make_map(encode, gemm, gemm.b, gemm.n, b_rows, b_map);
  if (status != cudaSuccess) return status;
  const LaunchShape shape{plan.blocks, kThreads, plan.shared_bytes,
                          static_cast<uint32_t>(plan.tiling.cluster())};
  return start_kernel(wgmma_kernel<dtype, tile_n, stages>, shape, stream, a_map, b_map, gemm, plan.tiling,
                      partials);
}

template <GemmDtype dtype>
int start_tile(const Gemm& gemm, const GemmPlan& plan, float* partials, cudaStream_t stream) {
  return plan.rule.tile_n == 256 ? start<dtype, 256, 4>(gemm, plan, partials, stream)
                                 : start<dtype, 128, 6>(gemm, plan, partials, stream);
}

}  // namespace

int launch_wgmma(const Gemm& gemm, const GemmPlan& plan, float* partials, CUstream_st* stream) {
  return gemm.dtype == GemmDtype::bf16 ? start_tile<GemmDtype::bf16>(gemm, plan, partials, stream)
                                       : start_tile<GemmDtype::f16>(gemm, plan, partials, stream);
}

}  // namespace hfload
