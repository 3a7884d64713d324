#include "core/plan/tree_positions.h"

#include <utility>

namespace hfload {

TreePositions::TreePositions(const ModuleTree& tree)
    : module_begin_(tree.modules.size()),
      module_end_(tree.modules.size()),
      tensor_begin_(tree.tensors.size()) {
  items_.reserve(tree.modules.size() + tree.tensors.size());
  const auto next = [&] { return static_cast<uint32_t>(items_.size()); };
  std::vector<std::pair<ModuleId, bool>> stack{{0, false}};
  while (!stack.empty()) {
    const auto [m, visited] = stack.back();
    stack.pop_back();
    if (visited) {
      module_end_[m] = next();
      continue;
    }
    module_begin_[m] = next();
    items_.push_back({m, kNoId});
    const Module& module = tree.modules[m];
    for (const IdList* tensors : {&module.parameters, &module.buffers}) {
      for (const TensorId t : *tensors) {
        tensor_begin_[t] = next();
        items_.push_back({kNoId, t});
      }
    }
    stack.emplace_back(m, true);
    for (auto it = module.children.rbegin(); it != module.children.rend(); ++it)
      stack.emplace_back(*it, false);
  }
}

}  // namespace hfload
