#pragma once

#include <vector>

#include "core/model/checkpoint.h"
#include "core/model/finding.h"

namespace hfload {

/// What else the model's directory holds that are weights, by the names of its files: numbered shards that
/// the index does not name (`unindexed_files`), a second set of the format, name and variant that was read
/// (`two_sets_of_weights`), other weights (`other_weights`). Names that begin with a dot are no weights:
/// macOS leaves `._model.safetensors` on file systems of others. Nothing for a file that the user named.
/// Throws Error(io_error) where the directory cannot be listed.
std::vector<Finding> find_other_weights(const Checkpoint& checkpoint);

}  // namespace hfload
