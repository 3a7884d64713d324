#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/format/dtype.h"
#include "core/model/module_tree.h"
#include "core/plan/infer_device_map.h"
#include "core/plan/module_sizes.h"

namespace hfload {

/// What a run is to keep room for: keys and values of that many tokens in each of `batch` sequences.
struct CacheOptions {
  uint64_t context_tokens = 0;
  uint64_t batch = 1;
  Dtype dtype = Dtype::f32;  ///< of keys, values and states
};

/// What one layer's cache takes at a context.
struct CacheBytes {
  ModuleId module = kNoId;       ///< the attention or mixer module
  uint64_t bytes = 0;            ///< of all sequences
  uint64_t bytes_per_token = 0;  ///< what one more token of context adds to one sequence
};

/// The caches of all layers, in the order of `tree.layer_caches`. The most that is needed at once: a sliding
/// window keeps min(context, window) tokens, which is what attention reads; a state takes the same whatever
/// the context. Throws Error(does_not_fit) when they take 2^50 bytes or more together.
std::vector<CacheBytes> cache_bytes(const ModuleTree& tree, const CacheOptions& options);

/// Counts every cache with the module that it belongs to, and with that module's parents.
void add_cache_bytes(ModuleSizes& sizes, const ModuleTree& tree, const std::vector<CacheBytes>& caches);

/// Where layers on the CPU and on the disk are executed (accelerate 1.x, `dispatch_model`): on the first GPU
/// of the map; on the CPU where it names none.
Device main_device(const DeviceMap& map);

/// Plans for the given budgets. `caches_on_cpu` is for PlanOptions.
using PlanForBudgets = std::function<DevicePlan(const MaxMemory& max_memory, bool caches_on_cpu)>;

/// Plans so that the caches have room where their layers are executed: those of offloaded layers are taken
/// from the main device's budget before `plan` sees it, again and again until they are as many as were taken
/// off. What is taken only grows, so this ends. The result has its caches split off its weights, as
/// `account_caches` leaves it.
DevicePlan plan_with_caches(const ModuleTree& tree, const std::vector<CacheBytes>& caches,
                            const MaxMemory& max_memory, const PlanForBudgets& plan);

/// Fills in what every device of a plan holds of the caches, for a plan whose `used_bytes` are weights alone.
void account_caches(DevicePlan& plan, const ModuleTree& tree, const std::vector<CacheBytes>& caches);

}  // namespace hfload
