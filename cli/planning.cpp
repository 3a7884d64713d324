#include "cli/planning.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/base/units.h"
#include "core/load/query_devices.h"

namespace hfload::cli {
namespace {

void append(std::vector<std::string>& to, const std::vector<std::string>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

/// Holds a map that the user gave against the budgets that the user gave.
void require_budgets(const DevicePlan& plan) {
  std::string over;
  for (const DeviceUsage& usage : plan.devices) {
    if (usage.device.kind == Device::Kind::disk || usage.used_bytes <= usage.budget_bytes) continue;
    over += fmt::format("{}{} would hold {} of weights with a budget of {}",
                        over.empty() ? "device " : ", device ", to_string(usage.device),
                        format_byte_size(usage.used_bytes), format_byte_size(usage.budget_bytes));
  }
  if (over.empty()) return;
  throw Error(ErrorCode::does_not_fit, "the device map does not fit: " + over)
      .with_hint(
          "Raise that budget in --max-memory, move modules to another device, or use --device-map auto.");
}

/// Free memory is a fact about now and about this machine: going over it is worth a warning, and no failure
/// of a plan.
void warn_over_free_memory(const DevicePlan& plan, std::vector<std::string>& warnings) {
  for (const DeviceUsage& usage : plan.devices) {
    if (usage.device.kind == Device::Kind::disk || usage.used_bytes <= usage.budget_bytes) continue;
    warnings.push_back(fmt::format("device {} would hold {} of weights, and {} are free on this machine",
                                   to_string(usage.device), format_byte_size(usage.used_bytes),
                                   format_byte_size(usage.budget_bytes)));
  }
}

void place_by_strategy(PlannedModel& model, Strategy strategy, const PlanningOptions& options) {
  const ModuleTree& tree = model.shell.tree;
  const PlanOptions plan_options{options.no_split.value_or(tree.no_split_modules), options.offload_buffers,
                                 options.fallback_allocation};
  const auto plan = [&](const MaxMemory& max_memory) {
    return plan_device_map(tree, model.sizes, max_memory, strategy, model.user_set_memory, plan_options);
  };
  model.plan = plan(model.max_memory);
  append(model.warnings, model.plan.warnings);
  if (options.explain) model.extra_budgets = find_extra_budgets(model.max_memory, model.plan, plan);
}

void place_by_map(PlannedModel& model, const DeviceMap& map) {
  append(model.warnings, check_device_map(model.shell.tree, map));
  model.plan = plan_from_device_map(model.shell.tree, model.sizes, map, model.max_memory);
  if (model.user_set_memory) {
    require_budgets(model.plan);
  } else {
    warn_over_free_memory(model.plan, model.warnings);
  }
}

std::vector<std::string> unknown_classes(const ModuleTree& tree, const std::vector<std::string>& classes) {
  std::vector<std::string> unknown;
  for (const std::string& name : classes) {
    if (name.empty()) continue;  // --no-split '' is how to say: nothing is kept whole
    const auto has_class = [&](const Module& module) { return module.class_name == name; };
    if (std::none_of(tree.modules.begin(), tree.modules.end(), has_class)) unknown.push_back(name);
  }
  return unknown;
}

}  // namespace

Checkpoint open_model(const ModelOptions& options, const Environment& environment) {
  return open_checkpoint(
      locate_model(options.model, {options.variant, options.subfolder, environment.hub_cache}));
}

PlannedModel plan_model(Checkpoint checkpoint, const PlanningOptions& options) {
  PlannedModel model;
  model.checkpoint = std::move(checkpoint);
  model.shell = build_shell(model.checkpoint, {options.dtype, options.compat});
  model.sizes = compute_module_sizes(model.shell.tree, model.shell.dtype);
  model.user_set_memory = options.max_memory.has_value();
  model.max_memory = options.max_memory ? *options.max_memory : query_max_memory();
  append(model.warnings, model.checkpoint.warnings);
  append(model.warnings, model.shell.warnings);
  if (options.no_split) {
    for (const std::string& name : unknown_classes(model.shell.tree, *options.no_split)) {
      model.warnings.push_back(fmt::format("--no-split {}: the model has no module of that class", name));
    }
  }
  if (const Strategy* strategy = std::get_if<Strategy>(&options.device_map)) {
    place_by_strategy(model, *strategy, options);
  } else {
    place_by_map(model, std::get<DeviceMap>(options.device_map));
  }
  return model;
}

uint64_t whole_bytes(double bytes) { return static_cast<uint64_t>(std::ceil(std::max(0.0, bytes))); }

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
  if (!options.offload_folder.empty()) {
    messages.detail(
        fmt::format("nothing is written to {}: safetensors files are used in place", options.offload_folder));
  }
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
