#include "core/model/module_tree.h"

#include <algorithm>

namespace hfload {

std::vector<std::vector<std::string>> ModuleTree::tied_groups() const {
  std::vector<std::vector<std::string>> groups;
  std::vector<uint32_t> group_of(tensors.size(), kNoId);
  for (const ShellTensor& t : tensors) {
    if (t.is_buffer || &tensors[t.object] == &t) continue;
    uint32_t& group = group_of[t.object];
    if (group == kNoId) {
      group = static_cast<uint32_t>(groups.size());
      groups.push_back({tensors[t.object].name.str()});
    }
    groups[group].push_back(t.name);
  }
  std::vector<uint32_t> first_places;
  for (TensorId i = 0; i < tensors.size(); ++i) {
    if (group_of[i] != kNoId) first_places.push_back(group_of[i]);
  }
  std::vector<std::vector<std::string>> ordered;
  ordered.reserve(groups.size());
  for (const uint32_t group : first_places) {
    std::ranges::sort(groups[group]);
    ordered.push_back(std::move(groups[group]));
  }
  return ordered;
}

uint64_t ModuleTree::parameter_count() const {
  if (parameters_before_quantization) return *parameters_before_quantization;
  uint64_t count = 0;
  for (const ShellTensor& t : tensors) {
    if (!t.is_buffer && &tensors[t.object] == &t) count += element_count(t.shape).value_or(0);
  }
  return count;
}

void renumber_tensors(ModuleTree& tree) {
  std::vector<TensorId> order;
  order.reserve(tree.tensors.size());
  for (const Module& m : tree.modules) {
    order.insert(order.end(), m.parameters.begin(), m.parameters.end());
    order.insert(order.end(), m.buffers.begin(), m.buffers.end());
  }
  std::vector<TensorId> renumbered(tree.tensors.size(), kNoId);
  for (TensorId i = 0; i < order.size(); ++i) renumbered[order[i]] = i;

  const bool in_order = order.size() == tree.tensors.size() && std::ranges::is_sorted(order);
  if (!in_order) {
    std::vector<ShellTensor> tensors;
    tensors.reserve(order.size());
    for (const TensorId id : order) tensors.push_back(std::move(tree.tensors[id]));
    tree.tensors = std::move(tensors);
  }
  // In transformers 4, named_parameters keeps the first place of a tied parameter, wherever the tie was
  // declared from. So it is, too, where the place that stood for the object is gone.
  std::vector<TensorId> representative(renumbered.size(), kNoId);
  for (TensorId i = 0; i < order.size(); ++i) {
    const TensorId object = tree.tensors[i].object;
    TensorId& place = representative[object];
    const bool source_stays = tree.compat == Compat::v5 && renumbered[object] != kNoId;
    if (place == kNoId) place = source_stays ? renumbered[object] : i;
    tree.tensors[i].object = place;
  }
  if (in_order) return;
  for (Module& m : tree.modules) {
    for (TensorId& t : m.parameters) t = renumbered[t];
    for (TensorId& t : m.buffers) t = renumbered[t];
  }
}

uint64_t shell_tensor_bytes(const ShellTensor& tensor) {
  return tensor_bytes(tensor.dtype, tensor.shape).value_or(0);
}

ModuleIndex::ModuleIndex(const ModuleTree& tree)
    : tree_(tree), modules_(tree.modules.size()), tensors_(tree.tensors.size()) {
  static_assert(kNoId == NameTable::kNone);
  const auto module_name = [&](ModuleId i) { return tree.modules[i].name.view(); };
  const auto tensor_name = [&](TensorId i) { return tree.tensors[i].name.view(); };
  for (ModuleId i = 0; i < tree.modules.size(); ++i) modules_.insert(i, module_name);
  for (TensorId i = 0; i < tree.tensors.size(); ++i) tensors_.insert(i, tensor_name);
}

ModuleId ModuleIndex::module(std::string_view name) const {
  return modules_.find(name, [&](ModuleId i) { return tree_.modules[i].name.view(); });
}

TensorId ModuleIndex::tensor(std::string_view name) const {
  return tensors_.find(name, [&](TensorId i) { return tree_.tensors[i].name.view(); });
}

}  // namespace hfload
