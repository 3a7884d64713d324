#pragma once

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "core/model/module_tree.h"
#include "core/plan/device.h"
#include "core/plan/module_sizes.h"

namespace hfload::test {

/// Small models without meaning: nested modules, no-split ones ("Block"), leaves, leaves without tensors,
/// tensors directly in modules that are split, booleans, tensors of no elements, ties.
class RandomTrees {
 public:
  explicit RandomTrees(uint32_t seed) : random_(seed) {}

  uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }
  bool one_in(uint32_t n) { return below(n) == 0; }

  ModuleTree tree(uint32_t least_leaves, uint32_t most_leaves) {
    tree_ = {};
    leaves_ = least_leaves + below(most_leaves - least_leaves + 1);
    tree_.compat = one_in(2) ? Compat::v4 : Compat::v5;
    if (!one_in(3)) tree_.no_split_modules = {"Block"};
    add_module("", kNoId, 0);
    tie();
    return std::move(tree_);
  }

  /// Sizes of the tree, in some trees with bytes that a module has beside its tensors (a cache).
  ModuleSizes sizes(const ModuleTree& tree) {
    ModuleSizes sizes = compute_module_sizes(tree, Dtype::f16);
    if (!one_in(4)) return sizes;
    const double bytes = 1 + below(40);
    for (ModuleId m = below(static_cast<uint32_t>(tree.modules.size())); m != kNoId; m = tree.names.parent(m))
      sizes.module_bytes[m] += bytes;
    return sizes;
  }

  MaxMemory budgets(double total, uint32_t most_gpus) {
    const double most = total * (0.2 + 0.1 * below(7));
    const auto budget = [&] {
      if (one_in(12)) return 0.0;
      return static_cast<double>(below(static_cast<uint32_t>(most) + 8));
    };
    MaxMemory memory;
    const uint32_t gpus = below(most_gpus + 1);
    for (uint32_t g = 0; g < gpus; ++g) memory.push_back({Device::gpu(g), budget()});
    if (!one_in(4)) memory.push_back({Device::cpu(), budget()});
    return memory;
  }

 private:
  void add_tensor(ModuleId m, const std::string& name, bool is_buffer) {
    const auto id = static_cast<TensorId>(tree_.tensors.size());
    ShellTensor t;
    t.name = name;
    t.module = m;
    t.dtype = t.created_dtype = is_buffer && one_in(2) ? Dtype::boolean : Dtype::f16;
    t.shape = {one_in(10) ? 0 : 1 + below(30)};
    t.is_buffer = is_buffer;
    t.persistent = !is_buffer || one_in(2);
    t.object = id;
    if (is_buffer && one_in(2)) share_buffer(t);
    tree_.tensors.push_back(t);
    (is_buffer ? tree_.buffers[m] : tree_.modules[m].parameters).push_back(id);
  }

  /// As in models whose layers use one rotary embedding.
  void share_buffer(ShellTensor& t) const {
    const auto is_shared = [&](const ShellTensor& other) {
      return other.is_buffer && &tree_.tensors[other.object] == &other;
    };
    const auto first = std::ranges::find_if(tree_.tensors, is_shared);
    if (first == tree_.tensors.end()) return;
    t.object = first->object;
    t.shape = first->shape;
    t.dtype = t.created_dtype = first->dtype;
  }

  void add_module(const std::string& name, ModuleId parent, int depth) {
    const ModuleId id = tree_.add_module(parent, name, "");
    const bool is_leaf = depth == 3 || (depth > 0 && one_in(2));
    const bool is_empty = is_leaf && one_in(4);
    tree_.modules[id].class_name = is_empty ? "Dropout" : is_leaf ? "Linear" : one_in(4) ? "Block" : "Stack";
    const uint32_t parameters = is_empty ? 0 : is_leaf ? 1 + below(2) : one_in(5) ? 1 : 0;
    for (uint32_t i = 0; i < parameters; ++i) add_tensor(id, "weight" + std::to_string(i), false);
    if (!is_empty && one_in(6)) add_tensor(id, "mask", true);
    if (is_leaf) return;
    const uint32_t children = 2 + below(5);
    for (uint32_t i = 0; i < children && leaves_ > 0; ++i) {
      if (depth >= 1) --leaves_;
      add_module(std::to_string(i), id, depth + 1);
    }
  }

  /// By the rules of 4 the first of a group stands for it, by those of 5 any may.
  void tie() {
    std::vector<TensorId> parameters;
    for (TensorId t = 0; t < tree_.tensors.size(); ++t) {
      if (!tree_.tensors[t].is_buffer) parameters.push_back(t);
    }
    if (parameters.size() < 2 || one_in(2)) return;
    const uint32_t groups = 1 + below(2), members = 2 + below(2);
    for (uint32_t g = 0; g < groups; ++g) {
      std::vector<TensorId> group;
      for (uint32_t i = 0; i < members; ++i) {
        const TensorId t = parameters[below(static_cast<uint32_t>(parameters.size()))];
        if (tree_.tensors[t].object == t) group.push_back(t);
      }
      if (group.empty()) continue;
      const TensorId object =
          tree_.compat == Compat::v5 ? group[0] : *std::min_element(group.begin(), group.end());
      if (is_object_of_another(object, group)) continue;
      for (const TensorId t : group) {
        if (is_object_of_another(t, group)) continue;
        tree_.tensors[t].object = object;
        tree_.tensors[t].shape = tree_.tensors[object].shape;
      }
    }
  }

  bool is_object_of_another(TensorId object, const std::vector<TensorId>& group) const {
    for (TensorId t = 0; t < tree_.tensors.size(); ++t) {
      if (t != object && tree_.tensors[t].object == object &&
          std::find(group.begin(), group.end(), t) == group.end())
        return true;
    }
    return false;
  }

  std::mt19937 random_;
  ModuleTree tree_;
  uint32_t leaves_ = 0;
};

}  // namespace hfload::test
