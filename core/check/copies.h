#pragma once

#include <optional>
#include <vector>

#include "core/check/tensor_pieces.h"
#include "core/check/tensor_scan.h"
#include "core/model/finding.h"
#include "core/model/saved_copies.h"
#include "core/save/tensor_source.h"

namespace hfload {

/// Of these copies those whose values differ, in their order. Tensors of one dtype are equal where all their
/// bits are. Float tensors of two dtypes are equal where each value is the other's, rounded to the narrower
/// dtype either way. What is not described is left out. Reads both tensors, to the first piece that differs.
/// Throws Interrupted, Error(changed_during_read, io_error).
std::vector<SavedCopy> find_differing_copies(const Checkpoint& checkpoint, const TensorSource& source,
                                             const std::vector<SavedCopy>& copies, const CheckRun& run);

/// The findings `tied_weights_differ`, a fault, and `tied_weights_saved`. `statistics` are scan_tensors',
/// whose hashes tell of tensors of one dtype, so that only others are read again. Throws as above.
std::vector<Finding> check_copies(const Checkpoint& checkpoint, const TensorSource& source,
                                  const std::vector<SavedCopy>& copies,
                                  const std::vector<std::optional<TensorStatistics>>& statistics,
                                  const CheckRun& run);

}  // namespace hfload
