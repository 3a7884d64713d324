#pragma once

#include <cstdint>
#include <optional>
#include <set>

#include "cli/planning.h"
#include "cli/terminal.h"
#include "core/model/checkpoint.h"
#include "core/model/match_keys.h"
#include "core/plan/device_map.h"

namespace hfload::cli {

/// Refuses, before anything is planned, a checkpoint without weights. Throws Error(weights_not_found).
void require_weights(const Checkpoint& checkpoint);

/// Refuses shards that are not there or in another format; without `needed`, any of the checkpoint's. Throws
/// Error(shard_missing, unsupported_format).
void require_shards(const Checkpoint& checkpoint, const KeyMatches* needed);

/// Ordinals of the GPUs that a map names.
std::set<uint32_t> gpus_of(const DeviceMap& map);

/// Budget of a GPU in bytes; nothing where there is none.
std::optional<uint64_t> gpu_budget(const MaxMemory& max_memory, uint32_t ordinal);

/// Refuses a plan whose GPUs are not there. To be emulated they need budgets, and there must be one to
/// emulate: where budgets name some and nothing is on them, a warning says so, the model's too. Throws
/// Error(no_cuda, usage).
void require_gpus(PlannedModel& model, bool emulate, Messages& messages);

}  // namespace hfload::cli
