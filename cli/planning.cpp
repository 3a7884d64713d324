#include "cli/planning.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "cli/text.h"
#include "core/base/units.h"
#include "core/load/query_devices.h"

namespace hfload::cli {
namespace {

void append(std::vector<std::string>& to, const std::vector<std::string>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

/// To assign {} would keep the capacity.
template <class List>
void give_back(List& list) {
  List().swap(list);
}

bool is_over_budget(const DeviceUsage& usage) {
  return usage.device.kind != Device::Kind::disk && usage.used_bytes + usage.cache_bytes > usage.budget_bytes;
}

/// "20.0 GiB of weights", "20.0 GiB of weights and 1.50 GiB of caches".
std::string describe_contents(const DeviceUsage& usage) {
  std::string text = format_byte_size(usage.used_bytes) + " of weights";
  if (usage.cache_bytes > 0) text += fmt::format(" and {} of caches", format_byte_size(usage.cache_bytes));
  return text;
}

/// Holds a map that the user gave, or the caches, against the budgets that the user gave.
void require_budgets(const DevicePlan& plan, bool is_given_map) {
  std::string over;
  for (const DeviceUsage& usage : plan.devices) {
    if (!is_over_budget(usage)) continue;
    over +=
        fmt::format("{}{} would hold {} with a budget of {}", over.empty() ? "device " : ", device ",
                    to_string(usage.device), describe_contents(usage), format_byte_size(usage.budget_bytes));
  }
  if (over.empty()) return;
  throw Error(ErrorCode::does_not_fit,
              (is_given_map ? "the device map does not fit: " : "the caches do not fit: ") + over)
      .with_hint(
          is_given_map
              ? "Raise that budget in --max-memory, move modules to another device, or use --device-map "
                "auto."
              : "Raise that budget in --max-memory, or use a shorter --context, a smaller --batch or a "
                "narrower --kv-dtype.");
}

/// Free memory is a fact about now and about this machine: going over it is worth a warning, and no failure
/// of a plan.
void warn_over_free_memory(const DevicePlan& plan, std::vector<std::string>& warnings) {
  for (const DeviceUsage& usage : plan.devices) {
    if (!is_over_budget(usage)) continue;
    warnings.push_back(fmt::format("device {} would hold {}, and {} are free on this machine",
                                   to_string(usage.device), describe_contents(usage),
                                   format_byte_size(usage.budget_bytes)));
  }
}

void check_budgets(PlannedModel& model, bool is_given_map) {
  if (model.user_set_memory) {
    require_budgets(model.plan, is_given_map);
  } else {
    warn_over_free_memory(model.plan, model.warnings);
  }
}

void place_by_strategy(PlannedModel& model, Strategy strategy, const PlanningOptions& options) {
  const ModuleTree& tree = model.shell.tree;
  PlanOptions plan_options{options.no_split.value_or(tree.no_split_modules), options.offload_buffers,
                           options.fallback_allocation};
  plan_options.with_steps = options.explain;
  const auto plan_for = [&](const MaxMemory& max_memory, bool caches_on_cpu) {
    plan_options.caches_on_cpu = caches_on_cpu;
    return plan_device_map(tree, model.sizes, max_memory, strategy, model.user_set_memory, plan_options);
  };
  const auto plan = [&](const MaxMemory& max_memory) {
    return model.cache ? plan_with_caches(tree, model.caches, max_memory, plan_for)
                       : plan_for(max_memory, true);
  };
  model.plan = plan(model.max_memory);
  append(model.warnings, model.plan.warnings);
  if (model.cache) check_budgets(model, false);
  if (options.explain) model.extra_budgets = find_extra_budgets(model.max_memory, model.plan, plan);
}

void place_by_map(PlannedModel& model, const DeviceMap& map) {
  append(model.warnings, check_device_map(model.shell.tree, map));
  model.plan = plan_from_device_map(model.shell.tree, model.sizes, map, model.max_memory);
  account_caches(model.plan, model.shell.tree, model.caches);
  check_budgets(model, true);
}

/// Sizes the caches of --context and counts them with their layers.
void add_caches(PlannedModel& model, const PlanningOptions& options) {
  if (!options.context_tokens) return;
  const ModuleTree& tree = model.shell.tree;
  model.cache =
      CacheOptions{*options.context_tokens, options.batch, options.kv_dtype.value_or(model.shell.dtype)};
  model.caches = cache_bytes(tree, *model.cache);
  add_cache_bytes(model.sizes, tree, model.caches);
  if (!model.caches.empty()) return;
  model.warnings.push_back(
      tree.from_tensor_names
          ? "--context keeps no room: what the layers of an unknown architecture cache is not known"
          : fmt::format("--context keeps no room: hfload knows of nothing that {} caches",
                        tree.model_class.empty() ? "this model" : tree.model_class));
}

/// One warning for each class of --no-split that the model does not have.
std::vector<std::string> warn_of_unknown_classes(const ModuleTree& tree,
                                                 const std::vector<std::string>& classes) {
  std::vector<std::string_view> known;
  for (const Module& module : tree.modules) {
    if (known.empty() || known.back() != module.class_name) known.push_back(module.class_name);
  }
  std::ranges::sort(known);
  known.erase(std::unique(known.begin(), known.end()), known.end());
  std::vector<std::string> warnings;
  for (const std::string& name : classes) {
    // --no-split '' is how to say: nothing is kept whole.
    if (name.empty() || std::ranges::binary_search(known, std::string_view(name))) continue;
    const std::string_view near = did_you_mean(name, known);
    warnings.push_back(fmt::format("--no-split {}: the model has no module of that class{}", name,
                                   near.empty() ? "" : fmt::format("; did you mean {}?", near)));
  }
  return warnings;
}

}  // namespace

ModelLocation locate(const ModelOptions& options, const Environment& environment) {
  return locate_model(options.model, {options.variant, options.subfolder, options.key, environment.hub_cache,
                                      environment.temporary_directory});
}

Checkpoint open_model(const ModelOptions& options, const Environment& environment) {
  return open_checkpoint(locate(options, environment));
}

PlannedModel plan_model(Checkpoint checkpoint, const PlanningOptions& options) {
  PlannedModel model;
  model.checkpoint = std::move(checkpoint);
  model.shell = build_shell(model.checkpoint, {options.dtype, options.compat});
  model.sizes = compute_module_sizes(model.shell.tree, model.shell.dtype);
  model.user_set_memory = options.max_memory.has_value();
  model.max_memory = options.max_memory ? *options.max_memory : query_max_memory();
  append(model.warnings, options.warnings);
  append(model.warnings, model.checkpoint.warnings);
  append(model.warnings, model.checkpoint.load_warnings());
  append(model.warnings, model.shell.warnings);
  if (options.no_split) append(model.warnings, warn_of_unknown_classes(model.shell.tree, *options.no_split));
  add_caches(model, options);
  if (const Strategy* strategy = std::get_if<Strategy>(&options.device_map)) {
    place_by_strategy(model, *strategy, options);
  } else {
    place_by_map(model, std::get<DeviceMap>(options.device_map));
  }
  return model;
}

void release_placement(PlannedModel& model) {
  const auto keep_whole = [](std::vector<double>& by_module) {
    by_module.resize(std::min<size_t>(1, by_module.size()));
    by_module.shrink_to_fit();
  };
  keep_whole(model.sizes.module_bytes);
  keep_whole(model.sizes.cache_bytes);
  give_back(model.sizes.tensor_bytes);
  give_back(model.sizes.buffer_sums);
  give_back(model.plan.steps);
}

void release_modules(PlannedModel& model) { give_back(model.shell.tree.modules); }

void release_shell_names(KeyMatches& keys) {
  give_back(keys.shell_names);
  keys.made_names.reset();
}

void release_matches(KeyMatches& keys) { give_back(keys.matches); }

void release_planning_data(PlannedModel& model, bool keep_names) {
  if (keep_names) {
    model.kept_objects.reserve(model.shell.tree.tensors.size());
    NameMaker make_name(model.shell.tree.names);
    for (const ShellTensor& tensor : model.shell.tree.tensors) {
      model.kept_names.add(make_name(tensor.module, tensor.name));
      model.kept_objects.push_back(tensor.object);
    }
  }
  model.kept_ties = model.shell.tree.tied_groups();
  give_back(model.shell.tree.tensors);
  model.shell.tree.names = {};
  model.shell.tree.texts = std::make_shared<TextPool>();
}

void release_checkpoint_tensors(PlannedModel& model, OffloadPlan& offload) {
  give_back(offload.names);
  give_back(model.checkpoint.tensors);
}

CacheTotals total_caches(const PlannedModel& model) {
  CacheTotals totals;
  for (const CacheBytes& cache : model.caches) {
    totals.bytes += cache.bytes;
    totals.bytes_per_token += cache.bytes_per_token;
  }
  return totals;
}

uint64_t whole_bytes(double bytes) { return static_cast<uint64_t>(std::ceil(std::max(0.0, bytes))); }

MaxMemory memory_for_weights(const PlannedModel& model) {
  MaxMemory memory = model.max_memory;
  for (DeviceMemory& m : memory) {
    for (const DeviceUsage& usage : model.plan.devices) {
      if (usage.device == m.device) m.bytes = std::max(0.0, m.bytes - usage.cache_bytes);
    }
  }
  return memory;
}

double disk_bytes(const DevicePlan& plan) {
  double bytes = 0;
  for (const DeviceUsage& usage : plan.devices) {
    if (usage.device.kind == Device::Kind::disk) bytes += usage.used_bytes;
  }
  return bytes;
}

void report_model(const Checkpoint& checkpoint, Messages& messages) {
  const ModelLocation& location = checkpoint.location;
  if (!location.config_path.empty()) messages.detail(fmt::format("configuration: {}", location.config_path));
  messages.detail(fmt::format("weights: {}", location.weights_path.empty() ? "none" : location.weights_path));
}

void report_planning(const PlannedModel& model, const PlanningOptions& options, Messages& messages) {
  for (const std::string& warning : model.warnings) messages.warning(warning);
  const double offloaded = disk_bytes(model.plan);
  if (offloaded == 0 || !std::holds_alternative<Strategy>(options.device_map)) return;
  const auto is_cpu = [](const DeviceMemory& memory) { return memory.device == Device::cpu(); };
  const bool has_cpu = std::any_of(model.max_memory.begin(), model.max_memory.end(), is_cpu);
  messages.warning(
      fmt::format("{} of weights fit on no given device and stay on the disk", format_byte_size(offloaded)),
      !model.user_set_memory ? "This machine has too little free memory; a smaller --dtype may fit. "
                               "--explain says what is short where."
      : has_cpu
          ? "Raise a budget in --max-memory, or use a smaller --dtype. --explain says what is short where."
          : "--max-memory gives the CPU nothing: add cpu=SIZE to it.");
}

}  // namespace hfload::cli
