#pragma once

#include <span>
#include <string>

#include "kernels/gemm.h"
#include "kernels/gemm_tiles.h"

namespace hfload {

/// What a choice of kernel depends on.
struct GemmDevice {
  int capability = 0;  ///< 10 · major + minor
  int multiprocessors = 0;
  int64_t shared_bytes = 0;  ///< the most one block may have (cudaDevAttrMaxSharedMemoryPerBlockOptin)
};

enum class GemmKernel : uint8_t {
  naive,   ///< one thread per element
  tiled,   ///< tiles in shared memory; any dtype and alignment
  vector,  ///< m up to 8: streams B once, no tensor cores
  simt,    ///< fp32: warp tiles in registers, cp.async
  mma,     ///< tensor cores of sm_80 and later: cp.async, ldmatrix, mma.sync
  wgmma    ///< Hopper: TMA with multicast, mbarriers, specialised warps, wgmma, persistent clusters
};
const char* gemm_kernel_name(GemmKernel kernel);

/// One row of the dispatch table: a kernel, its tile, and what it needs.
struct GemmRule {
  GemmKernel kernel;
  bool is_f32;      ///< for f32; otherwise for f16 and bf16
  int capability;   ///< the least, or for wgmma the only one
  int64_t most_m;   ///< 0: any
  bool fills;       ///< only if there is a tile for every multiprocessor
  int32_t aligned;  ///< rows of A and B begin at multiples of so many bytes; 0: of the element's size
  int32_t tile_m, tile_n;
  int32_t k_unit;  ///< elements along K in a stage
  int32_t stages;
  int32_t threads;
  int32_t blocks_per_sm;  ///< splitting K aims at so many
  int32_t cluster;        ///< the most blocks that share tiles
};

/// "64x64".
std::string gemm_tile_name(const GemmRule& rule);

/// The table, in order of preference.
std::span<const GemmRule> gemm_rules();

/// Dynamic shared memory of one block.
int64_t gemm_shared_bytes(const GemmRule& rule);

/// Blocks to launch; whole clusters.
int64_t gemm_blocks(const GemmRule& rule, const GemmTiling& tiling, const GemmDevice& device);

/// Whether the rule's kernel can compute the product on this device.
bool can_run(const GemmRule& rule, const Gemm& gemm, const GemmDevice& device);

/// A product, ready to be launched.
struct GemmPlan {
  GemmRule rule;
  GemmTiling tiling;
  int64_t blocks = 0;
  int64_t shared_bytes = 0;
  int64_t workspace_bytes = 0;  ///< fp32 partial sums [splits, batch, m, n]; 0 without a split
};

/// The plan by the first rule of the table that suits the product; m, n and batch are not 0.
GemmPlan plan_gemm(const Gemm& gemm, const GemmDevice& device);
/// The plan by this rule, which can run.
GemmPlan plan_gemm_by(const GemmRule& rule, const Gemm& gemm, const GemmDevice& device);

}  // namespace hfload
