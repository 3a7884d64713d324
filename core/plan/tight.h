#pragma once

#include "core/plan/infer_device_map.h"

namespace hfload {

/// hfload's own strategy: the modules in declaration order over the GPUs ascending, the CPU, and the disk,
/// each device taking one run of them. Unlike the greedy solver it holds room for offloaded layers back only
/// where some layer really is offloaded.
///
/// Units are placed (see PlacementUnit). Units that share a parameter are placed together, where the first of
/// them stands; a tied parameter costs nothing a second time. The first GPU that holds weights (accelerate's
/// main device) keeps room for the largest unit on the CPU or the disk, and the CPU, where it holds weights,
/// for the largest unit on the disk. Of all maps that fit so, the result has the smallest of, in this order:
/// bytes on the disk; bytes on the CPU; changes of device along the order; the fullest GPU's share, its bytes
/// by its budget. Of equals, the one that gives the first device the most pieces, then the second, and so on.
///
/// Exact and deterministic. `options.fallback_allocation` has no meaning here. Budgets of no more than 0
/// bytes take nothing; a disk budget is ignored.
DevicePlan infer_tight_device_map(const ModuleTree& tree, const ModuleSizes& sizes,
                                  const MaxMemory& max_memory, const PlanOptions& options);

}  // namespace hfload
