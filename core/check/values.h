#pragma once

#include <optional>
#include <vector>

#include "core/check/tensor_scan.h"
#include "core/model/checkpoint.h"
#include "core/model/finding.h"

namespace hfload {

/// What the values of a checkpoint's tensors tell: NaN and infinite values (`nan`, `infinity`), tensors
/// without elements (`empty_weights`, a fault; `empty_tensors`), and weights that were lost
/// (find_lost_weights). `statistics` are scan_tensors'. Throws Error(shard_missing, changed_during_read,
/// io_error).
std::vector<Finding> check_values(const Checkpoint& checkpoint,
                                  const std::vector<std::optional<TensorStatistics>>& statistics);

}  // namespace hfload
