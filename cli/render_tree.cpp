#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <unordered_map>

#include "cli/render_inspect.h"
#include "cli/text.h"
#include "core/base/checked.h"
#include "core/base/glob.h"
#include "core/base/name_hash.h"
#include "core/base/units.h"

namespace hfload::cli {
namespace {

using Align = TextTable::Align;

/// Deeper levels are not indented further: names from a hostile file may nest without end.
constexpr size_t kDeepestIndent = 24;

bool is_number(std::string_view name) {
  return !name.empty() &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// Equal numbers stand for subtrees that are equal but for the name of their root: same classes, children,
/// tensors, ties. Modules stand before their children, so that going backwards meets the children first.
std::vector<uint32_t> subtree_shapes(const ModuleTree& tree) {
  std::vector<uint32_t> shapes(tree.modules.size());
  std::unordered_map<std::string, uint32_t, NameHash> known;
  for (size_t id = tree.modules.size(); id-- > 0;) {
    const Module& module = tree.modules[id];
    std::string key = module.class_name;
    const auto add_tensor = [&](TensorId tensor_id) {
      const ShellTensor& tensor = tree.tensors[tensor_id];
      key += fmt::format("\n{} {} {} {}", tensor.name.view(), static_cast<int>(tensor.dtype),
                         format_shape(tensor.shape), tensor.object == tensor_id);
    };
    tree.for_each_tensor_of(static_cast<ModuleId>(id), add_tensor);
    for (const ModuleId child : module.children)
      key += fmt::format("\n{}/{}", tree.names.component(child), shapes[child]);
    shapes[id] = known.try_emplace(std::move(key), static_cast<uint32_t>(known.size())).first->second;
  }
  return shapes;
}

/// The name of the tensor that a module's own parameters are tied to; empty where they are its own.
std::string tied_to(const ModuleTree& tree, const Module& module) {
  for (const TensorId id : module.parameters) {
    if (tree.tensors[id].object != id) return tree.tensor_name(tree.tensors[id].object);
  }
  return "";
}

/// A line of the tree still to be written: `count` equal siblings from `first` on.
struct Pending {
  ModuleId first;
  uint32_t count;
  size_t depth;
  std::string label;
};

class TreeRenderer {
 public:
  TreeRenderer(const ModuleTree& tree, const std::string& filter)
      : tree_(tree),
        shapes_(subtree_shapes(tree)),
        totals_(module_totals(tree, filter)),
        filtered_(!filter.empty()) {}

  std::string render() {
    std::vector<Pending> stack{
        {0, 1, 0, tree_.modules[0].class_name.empty() ? "(model)" : tree_.modules[0].class_name}};
    while (!stack.empty()) {
      const Pending line = std::move(stack.back());
      stack.pop_back();
      add_line(line);
      std::vector<Pending> below = children_of(line);
      std::move(below.rbegin(), below.rend(), std::back_inserter(stack));
    }
    return table_.render() + (has_folded_ ? "  (below a line with \"x\": one of them)\n" : "");
  }

 private:
  bool is_shown(ModuleId id) const { return !filtered_ || totals_[id].tensors > 0; }

  void add_line(const Pending& line) {
    const ModuleTotals& one = totals_[line.first];
    std::string label(2 * std::min(line.depth, kDeepestIndent), ' ');
    label += escape_text(line.label);
    if (const std::string source = tied_to(tree_, tree_.modules[line.first]); !source.empty()) {
      label += " = " + escape_text(source);
    }
    const uint64_t parameters = one.parameters * line.count, bytes = one.bytes * line.count;
    const bool empty = one.tensors == 0;
    table_.add_row({std::move(label), empty ? "" : short_count(parameters),
                    empty ? "" : format_byte_size(static_cast<double>(bytes))});
  }

  /// Runs of equal numbered children become one line each; a list that is a single run becomes that line
  /// itself.
  std::vector<Pending> children_of(const Pending& line) {
    std::vector<Pending> below;
    const Module& module = tree_.modules[line.first];
    for (size_t at = 0; at < module.children.size();) {
      const size_t count = run_length(module, at);
      if (is_shown(module.children[at])) below.push_back(pending(module, at, count, line.depth + 1));
      at += count;
    }
    return below;
  }

  /// Number of the module's first children that are equal and numbered, as far as they are shown alike.
  size_t run_length(const Module& module, size_t begin) const {
    const ModuleId first = module.children[begin];
    size_t end = begin + 1;
    if (!is_number(tree_.names.component(first))) return 1;
    while (end < module.children.size()) {
      const ModuleId next = module.children[end];
      const bool equal = is_number(tree_.names.component(next)) && shapes_[next] == shapes_[first] &&
                         is_shown(next) == is_shown(first);
      if (!equal) break;
      ++end;
    }
    return end - begin;
  }

  Pending pending(const Module& module, size_t begin, size_t count, size_t depth) {
    const ModuleId first = module.children[begin];
    const Module& child = tree_.modules[first];
    const std::string_view name = tree_.names.component(first);
    if (count > 1) return folded(module, begin, count, depth, "{0}-{1}: {2} x {3}", "");
    const bool is_list =
        child.children.size() > 1 && child.parameters.empty() && tree_.buffers_of(first).empty();
    if (is_list && run_length(child, 0) == child.children.size()) {
      return folded(child, 0, child.children.size(), depth, "{4} ({0}-{1}): {2} x {3}", name);
    }
    return {first, 1, depth,
            child.class_name.empty() ? std::string(name) : fmt::format("{}: {}", name, child.class_name)};
  }

  Pending folded(const Module& module, size_t begin, size_t count, size_t depth, std::string_view layout,
                 std::string_view list) {
    has_folded_ = true;
    const Module& first = tree_.modules[module.children[begin]];
    const std::string_view last = tree_.names.component(module.children[begin + count - 1]);
    const std::string_view class_name =
        first.class_name.empty() ? "module" : std::string_view(first.class_name);
    return {module.children[begin], static_cast<uint32_t>(count), depth,
            fmt::format(fmt::runtime(layout), tree_.names.component(module.children[begin]), last, count,
                        class_name, list)};
  }

  const ModuleTree& tree_;
  std::vector<uint32_t> shapes_;
  std::vector<ModuleTotals> totals_;
  bool filtered_;
  bool has_folded_ = false;
  TextTable table_{{Align::left, Align::right, Align::right}, 2};
};

}  // namespace

std::vector<ModuleTotals> module_totals(const ModuleTree& tree, const std::string& filter) {
  std::vector<ModuleTotals> totals(tree.modules.size());
  NameMaker make_name(tree.names);
  for (TensorId id = 0; id < tree.tensors.size(); ++id) {
    const ShellTensor& tensor = tree.tensors[id];
    if (tensor.object != id) continue;
    if (!filter.empty() && !matches_glob(filter, make_name(tensor.module, tensor.name))) continue;
    ModuleTotals& at = totals[tensor.module];
    ++at.tensors;
    if (!tensor.is_buffer) at.parameters += element_count(tensor.shape).value_or(0);
    at.bytes += shell_tensor_bytes(tensor);
  }
  for (size_t id = tree.modules.size(); id-- > 1;) {
    ModuleTotals& parent = totals[tree.names.parent(static_cast<ModuleId>(id))];
    parent.tensors += totals[id].tensors;
    parent.parameters += totals[id].parameters;
    parent.bytes += totals[id].bytes;
  }
  return totals;
}

std::string render_tree(const ModuleTree& tree, const std::string& filter) {
  return TreeRenderer(tree, filter).render();
}

}  // namespace hfload::cli
