#pragma once

#include <optional>
#include <vector>

#include "core/check/tensor_scan.h"
#include "core/model/checkpoint.h"
#include "core/model/finding.h"

namespace hfload {

/// Weights whose bytes seem to be lost, by the rules of docs/verify.md: `constant_weights`,
/// `constant_file` and `unwritten_weights` are faults, `constant_tensors` and `holes` tell what may be right.
/// `statistics` are scan_tensors', by tensor. Throws Error(shard_missing, changed_during_read, io_error).
std::vector<Finding> find_lost_weights(const Checkpoint& checkpoint,
                                       const std::vector<std::optional<TensorStatistics>>& statistics);

}  // namespace hfload
