#include "kernels/gemm_dispatch.h"

#include <algorithm>
#include <limits>

namespace hfload {
namespace {

constexpr int32_t kMaxSplits = 32;
/// Below this, a range of K is not worth the partial sums it costs.
constexpr int32_t kLeastUnitsPerSplit = 4;
constexpr int64_t kMaxWorkspaceBytes = 64 << 20;
/// Blocks of the kernels that take one item after the other, per multiprocessor.
constexpr int64_t kMaxBlocks = 1 << 30;

// clang-format off
constexpr GemmRule kRules[] = {
  // kernel              f32  capability  m<=  fills aligned  tile_m tile_n k_unit stages threads blocks cluster
  {GemmKernel::vector,  false,      80,     8, false,    16,      8,     4,  1024,     1,    128,     8,      1},
  {GemmKernel::mma,     false,      80,    16, false,    16,     16,    64,    64,     6,    128,     3,      1},
  {GemmKernel::mma,     false,      80,    64, false,    16,     64,    64,    64,     4,    128,     3,      1},
  {GemmKernel::wgmma,   false,      90,     0,  true,    16,    128,   256,    64,     4,    384,     1,      2},
  {GemmKernel::wgmma,   false,      90,     0, false,    16,    128,   128,    64,     6,    384,     1,      2},
  {GemmKernel::mma,     false,      80,     0,  true,    16,    128,   128,    64,     3,    256,     1,      1},
  {GemmKernel::mma,     false,      80,     0, false,    16,     64,    64,    64,     4,    128,     2,      1},
  {GemmKernel::mma,     false,      80,     0, false,     4,     64,    64,    64,     4,    128,     2,      1},
  {GemmKernel::mma,     false,      80,     0, false,     2,     64,    64,    64,     2,    128,     2,      1},
  {GemmKernel::tiled,   false,      80,     0, false,     0,     32,    32,    32,     1,    256,     4,      1},
  {GemmKernel::naive,   false,      80,     0, false,     0,     16,    16,     1,     1,    256,     8,      1},
  {GemmKernel::vector,   true,      80,     8, false,    16,      8,     4,   512,     1,    128,     8,      1},
  {GemmKernel::simt,     true,      80,     0,  true,     0,    128,   128,    16,     3,    256,     2,      1},
  {GemmKernel::simt,     true,      80,     0, false,     0,     64,    64,    16,     4,     64,     4,      1},
  {GemmKernel::tiled,    true,      80,     0, false,     0,     32,    32,    32,     1,    256,     4,      1},
  {GemmKernel::naive,    true,      80,     0, false,     0,     16,    16,     1,     1,    256,     8,      1},
};
// clang-format on

bool is_aligned(const GemmInput& input, int64_t rows, int64_t batch, int64_t bytes, uint32_t alignment) {
  return reinterpret_cast<uintptr_t>(input.data) % alignment == 0 &&
         (rows <= 1 || input.ld * bytes % alignment == 0) &&
         (batch <= 1 || input.batch_stride * bytes % alignment == 0);
}

int32_t choose_splits(const GemmRule& rule, const GemmTiling& tiling, const GemmDevice& device) {
  // The ladder's first steps stay simple.
  if (rule.kernel == GemmKernel::naive || rule.kernel == GemmKernel::tiled) return 1;
  const int64_t items = tiling.tiles() * tiling.batch;
  const int64_t wanted = static_cast<int64_t>(device.multiprocessors) * rule.blocks_per_sm / items;
  const int64_t partial_bytes = static_cast<int64_t>(tiling.m) * tiling.n * tiling.batch * 4;
  const int64_t most = std::min<int64_t>({kMaxSplits, tiling.k_units() / kLeastUnitsPerSplit,
                                          kMaxWorkspaceBytes / std::max<int64_t>(partial_bytes, 1)});
  return static_cast<int32_t>(std::max<int64_t>(std::min(wanted, most), 1));
}

/// Lets pairs of blocks share a tile of B (neighbours along M) or of A (along N): whichever leaves fewer
/// blocks without a tile, and only if no block gets more tiles to do.
void choose_cluster(const GemmRule& rule, const GemmDevice& device, GemmTiling& tiling) {
  if (rule.cluster < 2 || device.multiprocessors < 2) return;
  const auto rounds = [&](const GemmTiling& t) {
    const int64_t at_once = device.multiprocessors / t.cluster();
    return (t.cluster_items() + at_once - 1) / at_once;
  };
  const auto fits = [&](const GemmTiling& t) {
    constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
    return rounds(t) <= rounds(tiling) && (t.tiles_m() + t.cluster_m) * t.tile_m <= kMost &&
           (t.tiles_n() + t.cluster_n) * t.tile_n <= kMost;
  };
  GemmTiling along_m = tiling, along_n = tiling;
  along_m.cluster_m = along_n.cluster_n = 2;
  const bool has_m = tiling.tiles_m() > 1 && fits(along_m), has_n = tiling.tiles_n() > 1 && fits(along_n);
  if (has_m && !(has_n && along_n.cluster_items() < along_m.cluster_items())) {
    tiling = along_m;
  } else if (has_n) {
    tiling = along_n;
  }
}

GemmTiling tiling_of(const GemmRule& rule, const Gemm& gemm) {
  GemmTiling tiling;
  tiling.m = static_cast<int32_t>(gemm.m);
  tiling.n = static_cast<int32_t>(gemm.n);
  tiling.k = static_cast<int32_t>(gemm.k);
  tiling.batch = static_cast<int32_t>(gemm.batch);
  tiling.tile_m = rule.tile_m;
  tiling.tile_n = rule.tile_n;
  tiling.k_unit = rule.k_unit;
  return tiling;
}

}  // namespace

const char* gemm_kernel_name(GemmKernel kernel) {
  constexpr const char* kNames[] = {"naive", "tiled", "vector", "simt", "mma", "wgmma"};
  return kNames[static_cast<size_t>(kernel)];
}

std::string gemm_tile_name(const GemmRule& rule) {
  return std::to_string(rule.tile_m) + "x" + std::to_string(rule.tile_n);
}

std::span<const GemmRule> gemm_rules() { return kRules; }

int64_t gemm_shared_bytes(const GemmRule& rule) {
  const int64_t rows = rule.tile_m + rule.tile_n;
  const int64_t ring = rule.stages * rows * rule.k_unit * (rule.is_f32 ? 4 : 2);
  const int64_t results = static_cast<int64_t>(rule.tile_m) * result_stride(rule.tile_n) * 4;
  switch (rule.kernel) {
    case GemmKernel::naive:
    case GemmKernel::tiled:
    case GemmKernel::vector:
      return 0;
    case GemmKernel::simt:
    case GemmKernel::mma:
      return std::max(ring, results);  // the results come when the ring is done
    case GemmKernel::wgmma:
      break;
  }
  // The ring is filled for the next tile while results are stored, 32 columns at a time. 1024: the ring's
  // alignment; 256: the barriers.
  return ring + static_cast<int64_t>(rule.tile_m) * result_stride(32) * 4 + 1024 + 256;
}

int64_t gemm_blocks(const GemmRule& rule, const GemmTiling& tiling, const GemmDevice& device) {
  const int64_t most = rule.kernel == GemmKernel::wgmma ? int64_t{device.multiprocessors} : kMaxBlocks;
  return std::min(tiling.cluster_items(), most / tiling.cluster()) * tiling.cluster();
}

bool can_run(const GemmRule& rule, const Gemm& gemm, const GemmDevice& device) {
  const bool is_f32 = gemm.dtype == GemmDtype::f32;
  if (rule.is_f32 != is_f32) return false;
  if (rule.kernel == GemmKernel::wgmma ? device.capability != rule.capability
                                       : device.capability < rule.capability) {
    return false;
  }
  if (rule.most_m != 0 && gemm.m > rule.most_m) return false;
  if (gemm_shared_bytes(rule) > device.shared_bytes) return false;
  if (rule.aligned == 0) return true;
  const int64_t bytes = gemm_element_bytes(gemm.dtype);
  const auto alignment = static_cast<uint32_t>(rule.aligned);
  return gemm.k > 0 && is_aligned(gemm.a, gemm.m, gemm.batch, bytes, alignment) &&
         is_aligned(gemm.b, gemm.n, gemm.batch, bytes, alignment);
}

GemmPlan plan_gemm(const Gemm& gemm, const GemmDevice& device) {
  for (const GemmRule& rule : kRules) {
    if (!can_run(rule, gemm, device)) continue;
    const GemmTiling tiling = tiling_of(rule, gemm);
    if (rule.fills && tiling.tiles() * tiling.batch < device.multiprocessors) continue;
    return plan_gemm_by(rule, gemm, device);
  }
  return {};
}

GemmPlan plan_gemm_by(const GemmRule& rule, const Gemm& gemm, const GemmDevice& device) {
  GemmPlan plan{.rule = rule, .tiling = tiling_of(rule, gemm)};
  plan.tiling.splits = choose_splits(rule, plan.tiling, device);
  choose_cluster(rule, device, plan.tiling);
  plan.shared_bytes = gemm_shared_bytes(rule);
  plan.blocks = gemm_blocks(rule, plan.tiling, device);
  if (plan.tiling.splits > 1) plan.workspace_bytes = plan.tiling.splits * gemm.batch * gemm.m * gemm.n * 4;
  return plan;
}

}  // namespace hfload
