#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "core/model/module_tree.h"

namespace hfload {

/// Bytes that planning counts for every module and tensor. A boolean counts an eighth of a byte, as in
/// accelerate, so sizes may have fractions; a double holds them exactly.
struct ModuleSizes {
  std::vector<double> module_bytes;  ///< by ModuleId: its distinct tensors at their first place and its
                                     ///< caches, children included
  std::vector<double>
      tensor_bytes;  ///< by TensorId; 0 for a tensor that is not the first place of its object
  /// For each module that has buffers of its own, ascending, their bytes and those of the ones before.
  std::vector<std::pair<ModuleId, double>> buffer_sums;
  std::vector<double>
      cache_bytes;  ///< by ModuleId: the part of module_bytes that is caches; empty without a context
  /// What a module's caches take, children included.
  double cache(ModuleId module) const { return cache_bytes.empty() ? 0 : cache_bytes[module]; }
  /// All distinct buffers below a module of the tree, which is seen by itself.
  double buffers(const ModuleTree& tree, ModuleId module) const;
  /// A module without its caches.
  double weights(ModuleId module) const { return module_bytes[module] - cache(module); }
  double total() const { return module_bytes.empty() ? 0 : module_bytes[0]; }
};

/// Sizes by the rules that `tree.compat` names. accelerate 1.x's `compute_module_sizes`: floating-point
/// tensors at the narrower of `dtype` and their own, integers and booleans at their own, a parameter kept in
/// float32 at float32; with no dtype, all at their own. transformers 5: all at the dtype they are created
/// with, a boolean a byte, the targets of ties not at all.
ModuleSizes compute_module_sizes(const ModuleTree& tree, std::optional<Dtype> dtype);

}  // namespace hfload
