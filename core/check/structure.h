#pragma once

#include <string>
#include <vector>

#include "core/check/tensor_pieces.h"
#include "core/model/checkpoint.h"
#include "core/model/saved_copies.h"

namespace hfload {

/// Everything that is odd about a checkpoint without a look at its weights.
struct StructureReport {
  std::vector<Finding> findings;
  std::vector<std::string> warnings;
  std::vector<SavedCopy> copies;  ///< for check_copies
};

/// Holds the model's shell against the checkpoint, and the files of the directory against what is read. Of
/// parameters that were saved twice check_copies tells, which needs their values.
StructureReport check_structure(const Checkpoint& checkpoint);

/// Whether a finding is a fault; others are notes (legacy buffers, tied weights that were saved again).
bool is_fault(const Finding& finding);

/// Compares the CRC-32 of every member of the checkpoint's zip archives; one finding for each shard with
/// wrong ones. Throws Interrupted, Error(changed_during_read, io_error).
std::vector<Finding> check_archives(const Checkpoint& checkpoint, const CheckRun& run);

}  // namespace hfload
