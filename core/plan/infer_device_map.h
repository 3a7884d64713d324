#pragma once

#include <string>
#include <vector>

#include "core/model/module_tree.h"
#include "core/plan/device.h"
#include "core/plan/device_map.h"
#include "core/plan/module_sizes.h"

namespace hfload {

/// `tight` is hfload's own (core/plan/tight.h), the others are accelerate's.
enum class Strategy : uint8_t { balanced_auto, balanced, balanced_low_0, sequential, tight };

struct PlanOptions {
  std::vector<std::string> no_split_modules;
  bool offload_buffers = false;
  bool fallback_allocation = false;
  /// Whether the caches of layers on the CPU are there too, as they are where no GPU executes those layers.
  bool caches_on_cpu = true;
  bool with_steps = true;  ///< fills DevicePlan::steps, of which a model may have 10^5
};

/// One decision of the solver, in the order they were made.
struct PlacementStep {
  enum class Action : uint8_t { placed, split, split_tied, next_device, fallback };
  Action action = Action::placed;
  std::string module;
  Device device;
  double module_bytes = 0;     ///< of the module, tied ones and caches included
  double used_bytes = 0;       ///< on the device, before this step
  double available_bytes = 0;  ///< budget less reserve less used; infinity on disk
  double reserved_bytes = 0;   ///< held back for the largest layer that may be offloaded
  std::string reserved_for;    ///< that layer, the first of equals; empty where nothing is held back
};

struct DeviceUsage {
  Device device;
  double budget_bytes = 0;             ///< infinity for the disk
  double used_bytes = 0;               ///< weights placed
  double reserved_bytes = 0;           ///< held back when the solver left the device, or at the end
  uint64_t modules = 0;                ///< entries of the map before merging
  double cache_bytes = 0;              ///< caches of the layers that are executed here
  uint64_t cache_bytes_per_token = 0;  ///< what one more token adds to those, in one sequence
};

struct DevicePlan {
  DeviceMap device_map;              ///< cleaned
  std::vector<DeviceUsage> devices;  ///< in budget order, disk last
  std::vector<PlacementStep> steps;
  std::vector<std::string> warnings;
};

/// Budgets for the balanced strategies (`get_balanced_memory` of accelerate 1.x or of transformers 5, as
/// `tree.compat` says). `user_set` is false when the
/// budgets are the free memory of the machine: then a single GPU keeps a tenth back. Throws
/// Error(invalid_device_map) for balanced_low_0 over GPUs that are not numbered 0..n-1.
MaxMemory balanced_memory(const ModuleTree& tree, const ModuleSizes& sizes, MaxMemory max_memory,
                          const std::vector<std::string>& no_split_modules, bool low_zero, bool user_set);

/// The greedy solver (`infer_auto_device_map` of accelerate 1.x or of transformers 5, as `tree.compat` says;
/// docs/planner.md restates it). Pure and deterministic.
DevicePlan infer_device_map(const ModuleTree& tree, const ModuleSizes& sizes, const MaxMemory& max_memory,
                            const PlanOptions& options);

/// What from_pretrained does for a strategy: balanced_memory where it applies, each GPU capped by the given
/// budget, then infer_device_map; for `tight`, infer_tight_device_map. transformers 5 keeps a tenth of the
/// CPU's memory back where `user_set` is false.
DevicePlan plan_device_map(const ModuleTree& tree, const ModuleSizes& sizes, const MaxMemory& max_memory,
                           Strategy strategy, bool user_set, const PlanOptions& options);

/// The usage of a map that was given, not inferred.
DevicePlan plan_from_device_map(const ModuleTree& tree, const ModuleSizes& sizes, DeviceMap map,
                                const MaxMemory& max_memory);

}  // namespace hfload
