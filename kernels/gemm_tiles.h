#pragma once

#include <cstdint>

#include "kernels/host_device.h"

namespace hfload {

/// The index arithmetic of the GEMM kernels: who computes what, and where it lies in shared memory. All of it
/// runs on the host as well, where the tests are.

/// How a product is cut into work items: one tile of C, for one batch entry, over one range of K.
struct GemmTiling {
  int32_t m = 0, n = 0, k = 0;  ///< of the product
  int32_t batch = 1;
  int32_t tile_m = 1, tile_n = 1;
  int32_t k_unit = 1;  ///< ranges of K begin at multiples of it
  int32_t splits = 1;  ///< ranges of K; with more than one, each writes fp32 partial sums
  /// The blocks of a cluster make so many neighbouring tiles at a time, one each; some may lie past C's edge.
  int32_t cluster_m = 1, cluster_n = 1;

  HFLOAD_HOST_DEVICE int64_t tiles_m() const { return (static_cast<int64_t>(m) + tile_m - 1) / tile_m; }
  HFLOAD_HOST_DEVICE int64_t tiles_n() const { return (static_cast<int64_t>(n) + tile_n - 1) / tile_n; }
  HFLOAD_HOST_DEVICE int64_t tiles() const { return tiles_m() * tiles_n(); }
  HFLOAD_HOST_DEVICE int64_t items() const { return tiles() * splits * batch; }
  HFLOAD_HOST_DEVICE int32_t cluster() const { return cluster_m * cluster_n; }
  /// Work items for clusters: each stands for one tile of every block.
  HFLOAD_HOST_DEVICE int64_t cluster_items() const {
    return ((tiles_m() + cluster_m - 1) / cluster_m) * ((tiles_n() + cluster_n - 1) / cluster_n) * splits *
           batch;
  }
  HFLOAD_HOST_DEVICE int32_t k_units() const {
    return static_cast<int32_t>((static_cast<int64_t>(k) + k_unit - 1) / k_unit);
  }
};

/// Rows of tiles that are walked together, column by column, so that what runs at the same time shares its
/// rows of A and of B in the L2 cache.
inline constexpr int64_t kGemmGroupRows = 8;

struct GemmTilePlace {
  int64_t row = 0, column = 0;  ///< in tiles
};

HFLOAD_HOST_DEVICE inline GemmTilePlace grouped_tile(int64_t index, int64_t tiles_m, int64_t tiles_n,
                                                     int64_t group_rows) {
  const int64_t group = index / (group_rows * tiles_n);
  const int64_t first = group * group_rows;
  const int64_t rows = tiles_m - first < group_rows ? tiles_m - first : group_rows;
  const int64_t inside = index - first * tiles_n;
  return {first + inside % rows, inside / rows};
}

/// Where range `split` of `splits` begins, in units; range splits - 1 ends where "range splits" begins. The
/// lengths differ by one unit at most.
HFLOAD_HOST_DEVICE inline int32_t split_begin(int32_t units, int32_t splits, int32_t split) {
  return static_cast<int32_t>(static_cast<int64_t>(units) * split / splits);
}

struct GemmWork {
  int32_t entry = 0, split = 0;
  int32_t row = 0, column = 0;           ///< of C, the tile's first
  int32_t unit_begin = 0, unit_end = 0;  ///< of K, in k_units
};

/// Work item `index` for the block of that rank in a cluster of cluster_m x cluster_n.
HFLOAD_HOST_DEVICE inline GemmWork work_in_cluster(const GemmTiling& tiling, int64_t index, int32_t cluster_m,
                                                   int32_t cluster_n, int32_t rank) {
  const int64_t rows = (tiling.tiles_m() + cluster_m - 1) / cluster_m;
  const int64_t columns = (tiling.tiles_n() + cluster_n - 1) / cluster_n;
  const int64_t layer = index / (rows * columns);
  const GemmTilePlace place =
      grouped_tile(index - layer * (rows * columns), rows, columns, kGemmGroupRows / cluster_m);
  GemmWork work;
  work.entry = static_cast<int32_t>(layer / tiling.splits);
  work.split = static_cast<int32_t>(layer % tiling.splits);
  work.row = static_cast<int32_t>((place.row * cluster_m + rank % cluster_m) * tiling.tile_m);
  work.column = static_cast<int32_t>((place.column * cluster_n + rank / cluster_m) * tiling.tile_n);
  work.unit_begin = split_begin(tiling.k_units(), tiling.splits, work.split);
  work.unit_end = split_begin(tiling.k_units(), tiling.splits, work.split + 1);
  return work;
}

/// Work item `index` of `tiling.items()`.
HFLOAD_HOST_DEVICE inline GemmWork gemm_work(const GemmTiling& tiling, int64_t index) {
  return work_in_cluster(tiling, index, 1, 1, 0);
}

/// Work item `index` of `tiling.cluster_items()`, for the block of that rank in its cluster.
HFLOAD_HOST_DEVICE inline GemmWork cluster_work(const GemmTiling& tiling, int64_t index, int32_t rank) {
  return work_in_cluster(tiling, index, tiling.cluster_m, tiling.cluster_n, rank);
}

/// Tiles of 2-byte elements have 64 along K: rows of 128 bytes, 8 chunks of 16 bytes. The byte offset of a
/// chunk; the exclusive or spreads a column of chunks over all banks. It is TMA's 128-byte swizzle.
HFLOAD_HOST_DEVICE inline uint32_t swizzled_chunk(uint32_t row, uint32_t chunk) {
  return row * 128 + ((chunk ^ (row & 7)) << 4);
}

/// Tiles of floats lie with K outermost: `width` floats for each index of K. Where a float lies: groups of 4
/// stay together, for 16-byte reads; 8 neighbours along K fall into different banks, for the transposing
/// copy.
HFLOAD_HOST_DEVICE inline uint32_t swizzled_float(uint32_t k, uint32_t row, uint32_t width) {
  return k * width + (row ^ ((k & 7) << 2));
}

/// The row and the chunk (8 elements along K) whose address lane `lane` gives to ldmatrix.x4, so that its
/// four registers are the A operand of mma.m16n8k16 ...
struct FragmentAddress {
  uint32_t row = 0, chunk = 0;
};
HFLOAD_HOST_DEVICE inline FragmentAddress a_fragment(uint32_t lane) { return {lane % 16, lane / 16}; }
/// ... and the B operands of two of them, columns 0 to 7 in registers 0 and 1, columns 8 to 15 in 2 and 3.
HFLOAD_HOST_DEVICE inline FragmentAddress b_fragment(uint32_t lane) {
  return {lane % 8 + lane / 16 * 8, lane / 8 % 2};
}

/// Where accumulator `index` of a lane lies in a warp's 16 rows, for mma.m16n8 (4 accumulators) and for
/// wgmma (a warp has 16 of the 64 rows; 4 accumulators for every 8 columns).
struct AccumulatorPlace {
  uint32_t row = 0, column = 0;
};
HFLOAD_HOST_DEVICE inline AccumulatorPlace accumulator_place(uint32_t lane, uint32_t index) {
  return {lane / 4 + index % 4 / 2 * 8, index / 4 * 8 + lane % 4 * 2 + index % 2};
}

/// Floats from row to row of a tile of results in shared memory. 8 more than a multiple of 32, so that the
/// 8-byte stores of accumulators meet no bank twice.
HFLOAD_HOST_DEVICE constexpr uint32_t result_stride(uint32_t columns) { return columns + 8; }

/// A ring of shared memory stages. Stage and parity of the mbarrier phase at the `use`-th use of the ring: a
/// consumer waits for that parity on the stage's "full" barrier, a producer for the other on "empty".
struct PipelinePlace {
  uint32_t stage = 0, parity = 0;
};
HFLOAD_HOST_DEVICE inline PipelinePlace pipeline_place(uint32_t use, uint32_t stages) {
  return {use % stages, use / stages & 1};
}

/// wgmma's descriptor of a K-major operand in shared memory with the 128-byte swizzle (PTX ISA, "Matrix
/// descriptor format"): address / 16 in bits 0-13; 1 in bits 16-29, not used by this layout; 1024 / 16 in
/// bits 32-45, from 8 rows to the next; 1, the swizzle, in bits 62-63. Tiles begin at multiples of 1024
/// bytes.
HFLOAD_HOST_DEVICE inline uint64_t wgmma_descriptor(uint32_t shared_address) {
  return (static_cast<uint64_t>(shared_address & 0x3ffffU) >> 4) | uint64_t{1} << 16 | uint64_t{64} << 32 |
         uint64_t{1} << 62;
}

}  // namespace hfload
