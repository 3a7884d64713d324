#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "cli/render_plan.h"
#include "cli/text.h"
#include "core/base/join.h"
#include "core/base/units.h"

namespace hfload::cli {
namespace {

using Action = PlacementStep::Action;
using Align = TextTable::Align;

std::string_view strategy_name(Strategy strategy) {
  switch (strategy) {
    case Strategy::balanced_auto:
      return "auto";
    case Strategy::balanced:
      return "balanced";
    case Strategy::balanced_low_0:
      return "balanced_low_0";
    case Strategy::sequential:
      return "sequential";
    case Strategy::tight:
      return "tight";
  }
  return "";
}

std::string size_or_dash(double bytes) { return std::isfinite(bytes) ? format_byte_size(bytes) : "-"; }

std::string render_devices(const PlannedModel& model) {
  const DevicePlan& plan = model.plan;
  std::vector<Align> columns(model.cache ? 7 : 6, Align::right);
  columns[0] = Align::left;
  TextTable table(columns);
  const auto add = [&](std::vector<std::string> row, std::string caches) {
    if (model.cache) row.insert(row.begin() + 3, std::move(caches));
    table.add_row(std::move(row));
  };
  add({"Device", "Budget", "Weights", "Held back", "Free", "Entries"}, "Caches");
  for (const DeviceUsage& usage : plan.devices) {
    const double free =
        std::max(0.0, usage.budget_bytes - usage.used_bytes - usage.cache_bytes - usage.reserved_bytes);
    add({to_string(usage.device), size_or_dash(usage.budget_bytes), format_byte_size(usage.used_bytes),
         format_byte_size(usage.reserved_bytes), size_or_dash(free), group_digits(usage.modules)},
        format_byte_size(usage.cache_bytes));
  }
  return table.render();
}

std::string room_left(const PlacementStep& step) {
  return format_byte_size(std::max(0.0, step.available_bytes));
}

std::string describe(const PlacementStep& step, bool with_ties) {
  const std::string device = to_string(step.device);
  switch (step.action) {
    case Action::placed:
      return fmt::format("placed on {}{}", device, with_ties ? ", with what is tied to it" : "");
    case Action::split:
      return fmt::format("split into its parts: {} has {} left", device, room_left(step));
    case Action::split_tied:
      return fmt::format("split, as a part is tied to what comes next: {} has {} left", device,
                         room_left(step));
    case Action::next_device:
      if (step.module_bytes <= step.available_bytes)
        return fmt::format("leaves {}, so that few devices are used, and those evenly", device);
      return fmt::format("leaves {}, which has {} left", device, room_left(step));
    case Action::fallback:
      return fmt::format("placed out of turn on {}", device);
  }
  return "";
}

/// Whether `next` is the layer after `step`, placed on the same device with the same size.
bool continues(const PlacementStep& step, const PlacementStep& next) {
  if (step.action != Action::placed || next.action != Action::placed || step.device != next.device)
    return false;
  if (step.module_bytes != next.module_bytes) return false;
  const auto a = split_number(step.module), b = split_number(next.module);
  return a && b && a->first == b->first && a->second + 1 == b->second;
}

std::string render_steps(const PlannedModel& model) {
  const std::vector<PlacementStep>& steps = model.plan.steps;
  const ModuleIndex index(model.shell.tree);
  TextTable table({Align::left, Align::right, Align::left});
  table.add_row({"Module", "Size", "Decision"});
  for (size_t at = 0; at < steps.size(); ++at) {
    const PlacementStep& first = steps[at];
    const size_t begin = at;
    while (at + 1 < steps.size() && continues(steps[at], steps[at + 1])) ++at;
    const ModuleId module = index.find(first.module);
    const bool with_ties = module != kNoId && first.module_bytes > model.sizes.module_bytes[module];
    std::string name = first.module.empty() ? "(the whole model)" : escape_text(first.module);
    if (at > begin) name += fmt::format(" to {}", split_number(steps[at].module)->second);
    table.add_row({std::move(name), format_byte_size(first.module_bytes) + (at > begin ? " each" : ""),
                   describe(first, with_ties)});
  }
  return table.render();
}

/// "0 by 12 B", "cpu by 1.20 GiB (1,288,490,189 bytes)".
std::string describe_rise(const ExtraBudget& rise) {
  constexpr uint64_t kShownExactly = 1024;  // from there on format_byte_size rounds
  std::string text =
      fmt::format("{} by {}", to_string(rise.device), format_byte_size(static_cast<double>(*rise.bytes)));
  if (*rise.bytes >= kShownExactly) text += fmt::format(" ({} bytes)", group_digits(*rise.bytes));
  return text;
}

/// A list item, wrapped to a terminal's width.
std::string bullet(std::string_view sentence) {
  std::string text;
  for (const std::string& line : wrap_text(sentence, 77)) text += (text.empty() ? "- " : "  ") + line + '\n';
  return text;
}

std::string render_rises(std::string_view goal, const std::vector<ExtraBudget>& rises) {
  if (rises.empty()) return "";
  std::vector<std::string> enough, not_enough;
  for (const ExtraBudget& rise : rises) {
    if (rise.bytes) {
      enough.push_back(describe_rise(rise));
    } else {
      not_enough.push_back(to_string(rise.device));
    }
  }
  if (enough.empty())
    return bullet(fmt::format("To leave nothing on {}, no rise of one budget is enough.", goal));
  std::string text = fmt::format("To leave nothing on {}, raise {}.", goal, join(enough, ", or "));
  if (!not_enough.empty()) text += fmt::format(" No rise of {} alone is enough.", join(not_enough, " or "));
  return bullet(text);
}

/// How much more of a device that was left would have kept the module that went on: the greedy solver goes
/// from device to device, while `tight` may divide the modules anew.
std::string render_missing(const DevicePlan& plan) {
  std::string text;
  for (const PlacementStep& step : plan.steps) {
    if (step.action != Action::next_device || !std::isfinite(step.available_bytes)) continue;
    const double missing = step.module_bytes - step.available_bytes;
    text += fmt::format("- {} more on {} would keep {} there.\n", format_byte_size(std::max(1.0, missing)),
                        to_string(step.device), escape_text(step.module));
  }
  return text;
}

std::string render_remedies(const PlannedModel& model, bool is_tight) {
  std::string text = is_tight ? "" : render_missing(model.plan);
  const bool was_left = std::ranges::any_of(
      model.plan.steps, [](const PlacementStep& step) { return step.action == Action::next_device; });
  if (was_left && model.shell.dtype == Dtype::f32)
    text += "- --dtype bfloat16 or float16 takes half the bytes.\n";
  text += render_rises("the disk", model.extra_budgets.without_disk);
  text += render_rises("the CPU or the disk", model.extra_budgets.without_offload);
  return text;
}

/// The layer for which a device holds back what it does.
std::string reserved_for(const DevicePlan& plan, const DeviceUsage& usage) {
  for (auto step = plan.steps.rbegin(); step != plan.steps.rend(); ++step) {
    if (step->device == usage.device && step->reserved_bytes == usage.reserved_bytes)
      return step->reserved_for;
  }
  return "a layer";
}

std::string render_reserve(const DevicePlan& plan, bool is_tight) {
  std::string text;
  for (const DeviceUsage& usage : plan.devices) {
    if (usage.reserved_bytes <= 0) continue;
    text += text.empty() ? "Held back " : " and ";
    text += fmt::format("on {}: room for {} ({})", to_string(usage.device),
                        escape_text(reserved_for(plan, usage)), format_byte_size(usage.reserved_bytes));
  }
  if (text.empty()) return "";
  text += is_tight ? ", the largest layer that has to be moved in from elsewhere to run."
                   : ", the largest layer still to be placed, as accelerate keeps it on the first GPU and on "
                     "the CPU for layers that are moved in from elsewhere.";
  std::string wrapped;
  for (const std::string& line : wrap_text(text, 79)) wrapped += line + '\n';
  return wrapped;
}

std::string render_heading(const PlannedModel& model, const PlanningOptions& options) {
  const ModuleTree& tree = model.shell.tree;
  std::string text =
      fmt::format("{}, {} in {}\n", escape_text(tree.model_class.empty() ? "model" : tree.model_class),
                  format_byte_size(model.sizes.weights(0)), dtype_info(model.shell.dtype).torch_name);
  const Strategy* strategy = std::get_if<Strategy>(&options.device_map);
  if (strategy == nullptr) return text + "Placement: as the given map says\n";
  std::vector<std::string> whole = options.no_split.value_or(tree.no_split_modules);
  std::erase(whole, "");
  text += fmt::format("Strategy: {}. Kept whole: {}.\n", strategy_name(*strategy),
                      whole.empty() ? "nothing" : escape_text(join(whole, ", ")));
  if (!model.user_set_memory) text += "Budgets: the memory that is free on this machine.\n";
  return text;
}

}  // namespace

std::string render_explanation(const PlannedModel& model, const PlanningOptions& options) {
  const Strategy* strategy = std::get_if<Strategy>(&options.device_map);
  const bool is_tight = strategy != nullptr && *strategy == Strategy::tight;
  std::string text = render_heading(model, options) + '\n' + render_devices(model);
  if (const std::string reserve = render_reserve(model.plan, is_tight); !reserve.empty())
    text += '\n' + reserve;
  if (!model.plan.steps.empty()) text += '\n' + render_steps(model);
  if (const std::string remedies = render_remedies(model, is_tight); !remedies.empty())
    text += "\nWhat would change it:\n" + remedies;
  return text;
}

}  // namespace hfload::cli
