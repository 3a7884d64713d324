#pragma once

#include <cstdint>

#include "core/save/convert.h"
#include "core/save/tensor_source.h"

namespace hfload {

/// What a complete output is to the source of a plan.
enum class OutputAge : uint8_t {
  current,       ///< what the plan would write, byte for byte
  outdated,      ///< of an earlier state of the source
  other_weights  ///< of another source, or changed since it was written
};

/// Compares an output that is complete (is_complete) with the source: first the times of its files, as make
/// does, and where the source is not newer the contents of all tensors and copied files (docs/convert.md).
/// Throws Interrupted, Error(changed_during_read, io_error).
OutputAge compare_with_source(const ConvertPlan& plan, const TensorSource& source, const ConvertRun& run);

}  // namespace hfload
