#pragma once

#include <string>
#include <vector>

#include "cli/plan_picture.h"

namespace hfload::cli {

/// How the bars are to look.
struct BarStyle {
  size_t columns = 80;
  bool utf8 = false;     ///< block characters; else ASCII
  bool colored = false;  ///< ANSI colours
};

/// One bar a device, scaled to its budget, the sizes below it, and a legend. No line is longer than the
/// terminal; empty where that has fewer than 24 columns, or nothing is to be drawn.
std::string render_bars(const std::vector<DeviceShares>& devices, const BarStyle& style);

}  // namespace hfload::cli
