#include "core/model/module_tree.h"

#include <algorithm>

namespace hfload {
namespace {

static_assert(kNoId == NameTable::kNone);

/// A name of a tree, for a NameTable.
struct NameInTree {
  const ModuleNames& names;
  ModuleId module;
  std::string_view component;

  bool operator==(std::string_view name) const { return names.is_name(module, component, name); }
  explicit operator std::string() const { return names.name(module, component); }
};

struct NameOfTensor {
  const ModuleTree& tree;
  NameInTree operator()(TensorId id) const {
    const ShellTensor& tensor = tree.tensors[id];
    return {tree.names, tensor.module, tensor.name};
  }
};

struct NameOfModule {
  const ModuleNames& names;
  NameInTree operator()(ModuleId id) const { return {names, id, {}}; }
};

}  // namespace

ModuleId ModuleTree::add_module(ModuleId parent, std::string_view name, std::string_view class_name) {
  const auto id = static_cast<ModuleId>(modules.size());
  const auto pooled = [&](std::string_view text) { return PooledText::of_pool(texts->add_once(text)); };
  names.add(parent, pooled(name));
  modules.emplace_back().class_name = pooled(class_name);
  if (parent != kNoId) modules[parent].children.push_back(id);
  return id;
}

const IdList& ModuleTree::buffers_of(ModuleId module) const {
  static const IdList kNone;
  const auto found = buffers.find(module);
  return found == buffers.end() ? kNone : found->second;
}

ModuleId ModuleTree::end_of(ModuleId module) const {
  while (!modules[module].children.empty()) module = *modules[module].children.rbegin();
  return module + 1;
}

std::vector<std::vector<std::string>> ModuleTree::tied_groups() const {
  std::vector<std::vector<std::string>> groups;
  const auto is_tied = [&](const ShellTensor& t) { return !t.is_buffer && &tensors[t.object] != &t; };
  if (std::ranges::none_of(tensors, is_tied)) return groups;
  std::vector<uint32_t> group_of(tensors.size(), kNoId);
  for (const ShellTensor& t : tensors) {
    if (!is_tied(t)) continue;
    uint32_t& group = group_of[t.object];
    if (group == kNoId) {
      group = static_cast<uint32_t>(groups.size());
      groups.push_back({tensor_name(t.object)});
    }
    groups[group].push_back(tensor_name(t));
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
  for (ModuleId m = 0; m < tree.modules.size(); ++m)
    tree.for_each_tensor_of(m, [&](TensorId tensor) { order.push_back(tensor); });
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
  }
  for (auto& [module, buffers] : tree.buffers) {
    for (TensorId& t : buffers) t = renumbered[t];
  }
}

uint64_t shell_tensor_bytes(const ShellTensor& tensor) {
  return tensor_bytes(tensor.dtype, tensor.shape).value_or(0);
}

TensorIndex::TensorIndex(const ModuleTree& tree) : tree_(tree), table_(tree.tensors.size()) {
  NameMaker name(tree.names);
  for (TensorId i = 0; i < tree.tensors.size(); ++i)
    table_.insert(i, name(tree.tensors[i].module, tree.tensors[i].name), NameOfTensor{tree});
}

TensorId TensorIndex::find(std::string_view name) const { return table_.find(name, NameOfTensor{tree_}); }

ModuleIndex::ModuleIndex(const ModuleTree& tree) : names_(tree.names), table_(tree.names.size()) {
  NameMaker name(names_);
  for (ModuleId i = 0; i < names_.size(); ++i) table_.insert(i, name(i), NameOfModule{names_});
}

ModuleId ModuleIndex::find(std::string_view name) const { return table_.find(name, NameOfModule{names_}); }

}  // namespace hfload
