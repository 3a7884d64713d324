#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/model/checkpoint.h"
#include "core/model/shell.h"

namespace hfload {

/// A difference between what an architecture saves and what a checkpoint holds.
struct Finding {
  std::string_view code;  ///< stable: "missing_keys", docs/formats.md lists them
  std::string message;    ///< one sentence
  std::vector<std::string>
      names;  ///< the tensors it is about, as the checkpoint names them, sorted; may be empty
};

/// Holds the shell's saved names and bytes against the checkpoint's: keys that are missing or unexpected,
/// shapes that differ, legacy buffers that newer classes do not save, tied weights that were saved again, a
/// total_size in the index that the tensors do not add up to. Nothing for a shell that was made from the
/// checkpoint's own names, but the total.
std::vector<Finding> compare_with_checkpoint(const Shell& shell, const Checkpoint& checkpoint);

}  // namespace hfload
