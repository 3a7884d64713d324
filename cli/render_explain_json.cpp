#include <algorithm>
#include <cmath>
#include <string_view>

#include "cli/render_plan.h"

namespace hfload::cli {
namespace {

using Action = PlacementStep::Action;

std::string_view action_name(Action action) {
  switch (action) {
    case Action::placed:
      return "placed";
    case Action::split:
      return "split";
    case Action::split_tied:
      return "split_tied";
    case Action::next_device:
      return "next_device";
    case Action::fallback:
      return "fallback";
  }
  return "";
}

/// Room is rounded down, so that a module of that many bytes fits.
void write_available(JsonWriter& json, double bytes) {
  if (std::isfinite(bytes)) {
    json.number(static_cast<uint64_t>(std::max(0.0, bytes)));
  } else {
    json.null();
  }
}

void write_step(JsonWriter& json, const PlacementStep& step) {
  json.begin_object().key("action").string(action_name(step.action));
  json.key("module").string(step.module);
  write_device(json.key("device"), step.device);
  json.key("module_bytes").number(whole_bytes(step.module_bytes));
  write_available(json.key("available_bytes"), step.available_bytes);
  if (step.action == Action::next_device)
    json.key("missing_bytes").number(whole_bytes(step.module_bytes - step.available_bytes));
  json.key("reserved_bytes").number(whole_bytes(step.reserved_bytes));
  json.key("reserved_for").string_or_null(step.reserved_for).end_object();
}

void write_rises(JsonWriter& json, const std::vector<ExtraBudget>& rises) {
  json.begin_array();
  for (const ExtraBudget& rise : rises) {
    write_device(json.begin_object().key("device"), rise.device);
    json.key("extra_bytes");
    if (rise.bytes) {
      json.number(*rise.bytes);
    } else {
      json.null();
    }
    json.end_object();
  }
  json.end_array();
}

}  // namespace

void write_explanation(JsonWriter& json, const PlannedModel& model) {
  json.begin_object().key("steps").begin_array();
  for (const PlacementStep& step : model.plan.steps) write_step(json, step);
  json.end_array();
  json.key("extra_budget").begin_object();
  write_rises(json.key("without_disk"), model.extra_budgets.without_disk);
  write_rises(json.key("without_offload"), model.extra_budgets.without_offload);
  json.end_object().end_object();
}

}  // namespace hfload::cli
