#pragma once

// Symbolic links of a model that lead out of its own folders.

#include <vector>

#include "core/model/checkpoint.h"
#include "core/model/finding.h"

namespace hfload {

/// A finding that names config, index and shards whose links lead out of ModelLocation::own_folders. They are
/// read all the same, as the owner of the disk made them; a copy of the folder would not hold these files.
std::vector<Finding> find_links_that_leave(const Checkpoint& checkpoint);

}  // namespace hfload
