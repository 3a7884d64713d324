#pragma once

#include <string>
#include <vector>

#include "core/format/pickle_scan.h"
#include "core/format/scanned_values.h"

namespace hfload {

/// A call as Python writes it, "os.system('true')", cut at kMaxCallBytes. `texts` and `globals` are what
/// values of these kinds count.
std::string show_call(ScannedValue call, const ScannedValues& values,
                      const std::vector<const std::string*>& texts,
                      const std::vector<ScannedGlobal>& globals);

}  // namespace hfload
