#pragma once

#include <string>
#include <vector>

#include "core/model/checkpoint.h"
#include "core/model/finding.h"
#include "core/model/saved_copies.h"
#include "core/model/shell.h"

namespace hfload {

/// What is found where a shell is held against a checkpoint.
struct ShellComparison {
  std::vector<Finding> findings;
  std::vector<SavedCopy> copies;  ///< what `tied_weights_saved` names; whether they are equal is not known
};

/// Holds the shell's saved names and bytes against the checkpoint's: keys that are missing or unexpected,
/// shapes that differ, keys that the class ignores, legacy buffers that newer classes do not save, tied
/// weights that were saved again, a total_size in the index that the tensors do not add up to. Nothing for a
/// shell that was made from the checkpoint's own names, but the total.
ShellComparison compare_with_checkpoint(const Shell& shell, const Checkpoint& checkpoint);

/// The finding `tied_weights_saved` of these names; `names` is not empty.
Finding tied_weights_saved(std::vector<std::string> names);

/// The total_size alone, for a checkpoint without a shell; nothing where shards are absent.
std::vector<Finding> compare_total_size(const Checkpoint& checkpoint);

}  // namespace hfload
