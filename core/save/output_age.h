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

/// Whether a file of the source was written to, or came to its place, after the output's entry point was
/// written. Throws Error(io_error).
bool has_newer_source(const ConvertPlan& plan);

/// Compares an output of which no form differs (compare_form) with the source: first the times of its files,
/// as make does, and where the source is not newer the contents of all tensors and copied files
/// (docs/convert.md). Throws Interrupted, Error(changed_during_read, io_error).
OutputAge compare_with_source(const ConvertPlan& plan, const TensorSource& source, const ConvertRun& run);

}  // namespace hfload
