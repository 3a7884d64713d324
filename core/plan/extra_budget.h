#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "core/plan/infer_device_map.h"

namespace hfload {

/// A rise of one device's budget, the others as they are.
struct ExtraBudget {
  Device device;
  std::optional<uint64_t> bytes;  ///< nothing: no rise of this budget alone is enough
};

struct ExtraBudgets {
  /// With which no entry of the map is on the disk: of each GPU, then of the CPU (of 0 bytes where it has no
  /// budget). Empty where none is there now.
  std::vector<ExtraBudget> without_disk;
  /// With which no entry is on the CPU or the disk, of each GPU. Empty where none is there now.
  std::vector<ExtraBudget> without_offload;
};

/// The plan for other budgets, everything else unchanged.
using Replan = std::function<DevicePlan(const MaxMemory&)>;

/// Searches the solver itself: rises are doubled until one is enough, then the last interval is halved down
/// to a byte. So a rise that is found is enough, and one byte less is not. For `tight` it is the smallest;
/// the greedy solver may, with a little less memory yet, place the modules in a way that happens to fit, and
/// such a rise may be missed. Budgets that replan refuses with an Error count as not enough. `plan` is that
/// of `max_memory`.
ExtraBudgets find_extra_budgets(const MaxMemory& max_memory, const DevicePlan& plan, const Replan& replan);

}  // namespace hfload
