#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/model/checkpoint.h"
#include "core/model/match_keys.h"
#include "core/model/module_tree.h"

namespace hfload {

/// What a subset leaves out.
struct SubsetSkips {
  uint64_t tensors = 0;
  uint64_t bytes = 0;  ///< in their shards
};

/// Keeps of `keys` what concerns tensors of which a name matches one of `patterns` (globs over the shell's
/// names): the matches, where one name of a tied tensor is enough, and the three lists of keys by the names
/// that stand in them. Throws Error(empty_subset) for the first pattern that matches no tensor which a
/// checkpoint of this model holds.
SubsetSkips select_subset(KeyMatches& keys, const ModuleTree& tree, const Checkpoint& checkpoint,
                          const std::vector<std::string>& patterns);

}  // namespace hfload
