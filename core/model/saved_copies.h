#pragma once

#include <cstdint>
#include <vector>

#include "core/model/checkpoint.h"
#include "core/model/match_keys.h"
#include "core/model/module_tree.h"

namespace hfload {

/// Two tensors of a checkpoint that are one parameter of the model. Both are indices into
/// Checkpoint::tensors.
struct SavedCopy {
  uint32_t loaded = 0;   ///< the one that fills the parameter
  uint32_t dropped = 0;  ///< the one that no load uses
};

/// The tensors that no load uses because another one fills their parameter: a tied weight under a second
/// name, or one parameter under its legacy name and its new one. Tensors of another shape than the model's
/// are left out. In checkpoint order.
std::vector<SavedCopy> find_saved_copies(const ModuleTree& tree, const Checkpoint& checkpoint,
                                         const KeyMatches& keys);

}  // namespace hfload
