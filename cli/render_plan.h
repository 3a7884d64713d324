#pragma once

#include <string>

#include "cli/json_writer.h"
#include "cli/planning.h"

namespace hfload::cli {

/// The fields that `plan` and `load` have in common, written into an open object.
void write_plan_fields(JsonWriter& json, const PlannedModel& model);

/// What the caches of --context take, in all and on every device; empty where nothing caches, or
/// without --context.
std::string render_caches(const PlannedModel& model);

/// Why each module went where it did, and what would change that: for people.
std::string render_explanation(const PlannedModel& model, const PlanningOptions& options);

}  // namespace hfload::cli
