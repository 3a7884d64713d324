#pragma once

#include <cstdint>
#include <vector>

#include "core/model/module_tree.h"

namespace hfload {

/// A module, or a tensor that waits to be placed by itself.
struct PlanItem {
  ModuleId module = kNoId;  ///< kNoId: the tensor
  TensorId tensor = kNoId;
  bool operator==(const PlanItem&) const = default;
};

/// Modules and tensors in one depth-first numbering, so that "is it or is below it" is a range.
class TreePositions {
 public:
  explicit TreePositions(const ModuleTree& tree);

  uint32_t begin(const PlanItem& item) const {
    return item.module != kNoId ? module_begin_[item.module] : tensor_begin_[item.tensor];
  }
  /// One past the last number below it.
  uint32_t end(const PlanItem& item) const {
    return item.module != kNoId ? module_end_[item.module] : tensor_begin_[item.tensor] + 1;
  }
  const PlanItem& at(uint32_t position) const { return items_[position]; }

 private:
  std::vector<uint32_t> module_begin_, module_end_;  ///< by ModuleId
  std::vector<uint32_t> tensor_begin_;               ///< by TensorId
  std::vector<PlanItem> items_;                      ///< by number
};

}  // namespace hfload
