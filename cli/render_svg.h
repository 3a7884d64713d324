#pragma once

#include <string>

#include "cli/plan_picture.h"

namespace hfload::cli {

/// An SVG picture of a plan: a bar per device with its modules, caches, what is held back and what is free.
/// Stands by itself, fits light and dark, and depends on nothing but the plan.
std::string render_svg(const PlannedModel& model);

}  // namespace hfload::cli
