#pragma once

#include <string>

#include "cli/json_writer.h"
#include "cli/planning.h"

namespace hfload::cli {

/// The fields that `plan` and `load` have in common, written into an open object; `explain` if asked for.
void write_plan_fields(JsonWriter& json, const PlannedModel& model, const PlanningOptions& options);

/// A number for a GPU, else a string.
void write_device(JsonWriter& json, Device device);

/// The value of `explain`: the steps, and the rises of one budget that would keep all off the disk or on the
/// GPUs.
void write_explanation(JsonWriter& json, const PlannedModel& model);

/// What the caches of --context take, in all and on every device; empty where nothing caches, or
/// without --context.
std::string render_caches(const PlannedModel& model);

/// Why each module went where it did, and what would change that: for people.
std::string render_explanation(const PlannedModel& model, const PlanningOptions& options);

}  // namespace hfload::cli
