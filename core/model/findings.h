#pragma once

#include <vector>

#include "core/model/checkpoint.h"
#include "core/model/finding.h"
#include "core/model/shell.h"

namespace hfload {

/// Holds the shell's saved names and bytes against the checkpoint's: keys that are missing or unexpected,
/// shapes that differ, legacy buffers that newer classes do not save, tied weights that were saved again, a
/// total_size in the index that the tensors do not add up to. Nothing for a shell that was made from the
/// checkpoint's own names, but the total.
std::vector<Finding> compare_with_checkpoint(const Shell& shell, const Checkpoint& checkpoint);

/// The total_size alone, for a checkpoint without a shell; nothing where shards are absent.
std::vector<Finding> compare_total_size(const Checkpoint& checkpoint);

}  // namespace hfload
