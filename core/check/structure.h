#pragma once

#include <string>
#include <vector>

#include "core/check/tensor_pieces.h"
#include "core/model/checkpoint.h"

namespace hfload {

/// Everything that is odd about a checkpoint without a look at its weights.
struct StructureReport {
  std::vector<Finding> findings;
  std::vector<std::string> warnings;
};

/// Holds the model's shell against the checkpoint, and the files of the directory against the index.
StructureReport check_structure(const Checkpoint& checkpoint);

/// Whether a finding is a fault; others (legacy buffers, tied weights that were saved again) are harmless.
bool is_fault(const Finding& finding);

/// Compares the CRC-32 of every member of the checkpoint's zip archives; one finding for each shard with
/// wrong ones. Throws Interrupted, Error(changed_during_read, io_error).
std::vector<Finding> check_archives(const Checkpoint& checkpoint, const CheckRun& run);

}  // namespace hfload
