#pragma once

#include <cstdint>

#include "core/model/module_tree.h"

namespace hfload {

/// A module, or a tensor that waits to be placed by itself.
struct PlanItem {
  ModuleId module = kNoId;  ///< kNoId: the tensor
  TensorId tensor = kNoId;
  bool operator==(const PlanItem&) const = default;
};

/// Modules and tensors in one depth-first numbering, so that "is it or is below it" is a range: as modules
/// stand in that order, a module's number in the upper half and, for a tensor directly in it, the tensor's,
/// counted from 1, in the lower. The tree must outlive it.
class TreePositions {
 public:
  explicit TreePositions(const ModuleTree& tree) : tree_(tree) {}

  uint64_t begin(const PlanItem& item) const {
    if (item.module != kNoId) return of_module(item.module);
    return of_module(tree_.tensors[item.tensor].module) | (uint64_t{item.tensor} + 1);
  }
  /// One past the last number below it.
  uint64_t end(const PlanItem& item) const {
    if (item.module == kNoId) return begin(item) + 1;
    return of_module(tree_.end_of(item.module));
  }
  PlanItem at(uint64_t position) const {
    const auto tensor = static_cast<uint32_t>(position);
    return tensor == 0 ? PlanItem{static_cast<ModuleId>(position >> 32), kNoId} : PlanItem{kNoId, tensor - 1};
  }

 private:
  static uint64_t of_module(uint64_t module) { return module << 32; }

  const ModuleTree& tree_;
};

}  // namespace hfload
