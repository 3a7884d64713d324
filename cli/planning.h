#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/environment.h"
#include "cli/options.h"
#include "cli/terminal.h"
#include "core/base/packed_names.h"
#include "core/load/offload_folder.h"
#include "core/model/checkpoint.h"
#include "core/model/shell.h"
#include "core/plan/cache.h"
#include "core/plan/extra_budget.h"
#include "core/plan/infer_device_map.h"
#include "core/plan/module_sizes.h"

namespace hfload::cli {

/// Where the model is, by its argument and flags. Throws Error.
ModelLocation locate(const ModelOptions& options, const Environment& environment);

/// Locates and opens the model. Throws Error.
Checkpoint open_model(const ModelOptions& options, const Environment& environment);

/// A model, its shell, and where each module goes.
struct PlannedModel {
  Checkpoint checkpoint;
  Shell shell;
  ModuleSizes sizes;
  MaxMemory max_memory;               ///< given by the user, or the machine's free memory
  bool user_set_memory = false;       ///< whether the budgets were given
  std::optional<CacheOptions> cache;  ///< with --context
  std::vector<CacheBytes> caches;     ///< of each layer, with --context
  DevicePlan plan;
  ExtraBudgets extra_budgets;         ///< with --explain and a strategy, else empty
  std::vector<std::string> warnings;  ///< of every step so far
  /// Once the shell's tensors were given back: the groups of tied parameters among them.
  std::optional<std::vector<std::vector<std::string>>> kept_ties;
  /// By then, with --verify: their names, and for each its ShellTensor::object.
  PackedNames kept_names;
  std::vector<TensorId> kept_objects;

  std::vector<std::vector<std::string>> tied_groups() const {
    return kept_ties ? *kept_ties : shell.tree.tied_groups();
  }
  /// Model type of config.json; empty where there is none.
  std::string model_type() const { return checkpoint.config.model_type(); }
};

/// Builds the shell and plans it. Throws Error; Error(does_not_fit) when a map that was given, or the caches
/// of --context, put more on a device than its given budget.
PlannedModel plan_model(Checkpoint checkpoint, const PlanningOptions& options);

/// Gives back what served to find the device map, once it is reported: the sizes of all but the whole, and
/// steps. 10^5 of each are megabytes beside the weights, as with what follows.
void release_placement(PlannedModel& model);

/// Gives back the modules but for their names, once nothing is placed any more.
void release_modules(PlannedModel& model);

/// Gives back which name of the model each tensor of the checkpoint has, which a load needs no more.
void release_shell_names(KeyMatches& keys);

/// Gives back which key matched which, once the load is planned; the lists of keys are kept.
void release_matches(KeyMatches& keys);

/// Gives back what only planning a load needs: the model's tensors. What a plan's JSON shows and, if they are
/// still wanted, the tensors' names are kept.
void release_planning_data(PlannedModel& model, bool keep_names);

/// Gives back the checkpoint's tensors and the names of the offload plan, some of which are theirs, once
/// everything is loaded.
void release_checkpoint_tensors(PlannedModel& model, OffloadPlan& offload);

/// What all caches take together.
struct CacheTotals {
  uint64_t bytes = 0;
  uint64_t bytes_per_token = 0;  ///< what one more token adds to one sequence
};
CacheTotals total_caches(const PlannedModel& model);

/// Whole bytes of a size that may have a fraction (a boolean counts an eighth of a byte), rounded up.
uint64_t whole_bytes(double bytes);

/// The budgets less what the caches take of them: what is left for weights.
MaxMemory memory_for_weights(const PlannedModel& model);

/// Weights that the plan leaves on the disk, in bytes.
double disk_bytes(const DevicePlan& plan);

/// With --verbose: which files were opened.
void report_model(const Checkpoint& checkpoint, Messages& messages);

/// The warnings, and how to keep the weights off the disk where some go there.
void report_planning(const PlannedModel& model, const PlanningOptions& options, Messages& messages);

}  // namespace hfload::cli
