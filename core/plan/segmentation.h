#pragma once

#include <cstddef>
#include <vector>

namespace hfload {

/// Pieces in order, and the devices that take them in order: GPUs, the CPU, the disk.
struct SegmentationProblem {
  std::vector<double> piece_bytes;      ///< each more than 0
  std::vector<double> cpu_piece_bytes;  ///< by piece: what it takes on the CPU, no more than elsewhere; empty
                                        ///< where that is the same
  std::vector<double> layer_bytes;      ///< by piece: what it takes to run its largest layer
  std::vector<double> gpu_budgets;      ///< bytes; no more than 0: takes nothing
  double cpu_budget = 0;                ///< bytes; no more than 0: takes nothing
};

/// Room for layers that run elsewhere than where they are kept, in bytes.
struct SegmentationReserve {
  double bytes = 0;
  size_t piece = 0;  ///< whose layer it is; means nothing where `bytes` is 0
};

struct Segmentation {
  std::vector<size_t> ends;  ///< by GPU, then of the CPU: one past its last piece; the disk has the rest
  SegmentationReserve gpu_reserve;  ///< for the largest layer on the CPU and the disk
  SegmentationReserve cpu_reserve;  ///< for the largest layer on the disk
};

/// The best division of the pieces into one run per device, each possibly empty. What a device holds fits its
/// budget; beside it, the first GPU that holds anything has room for the largest layer on the CPU or the
/// disk, and the CPU, where it holds anything, for the largest layer on the disk. Best is the smallest of, in
/// this order: bytes on the disk; bytes on the CPU; devices that hold anything; the largest share of its
/// budget that a GPU holds. Of equals, the one that gives the first device the most pieces, then the second,
/// and so on. Exact for sums below 2^50 bytes in eighths of a byte; time in proportion to pieces times GPUs.
Segmentation segment(SegmentationProblem problem);

}  // namespace hfload
