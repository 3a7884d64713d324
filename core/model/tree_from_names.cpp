#include "core/model/tree_from_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string_view>
#include <unordered_map>

#include "core/base/error.h"

namespace hfload {
namespace {

// Deeper than any model, and shallow enough for the recursion below.
constexpr size_t kMaxDepth = 100;

struct Node {
  std::vector<std::pair<std::string, std::unique_ptr<Node>>> children;
  std::unordered_map<std::string_view, Node*> by_name;
  std::vector<std::pair<std::string, uint32_t>> tensors;  ///< local name, index into Checkpoint::tensors
};

Node* child_of(Node& parent, std::string_view name) {
  if (const auto it = parent.by_name.find(name); it != parent.by_name.end()) return it->second;
  parent.children.emplace_back(std::string(name), std::make_unique<Node>());
  Node* child = parent.children.back().second.get();
  // The caller's view of the name: a short string inside the growing vector would move.
  parent.by_name.emplace(name, child);
  return child;
}

bool is_number(std::string_view name) {
  return !name.empty() && name.size() < 10 &&
         std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
}

uint64_t number_of(std::string_view name) {
  uint64_t value = 0;
  for (const char c : name) value = value * 10 + static_cast<uint64_t>(c - '0');
  return value;
}

bool contains_any(std::string_view name, std::initializer_list<std::string_view> parts) {
  return std::ranges::any_of(
      parts, [&](std::string_view part) { return name.find(part) != std::string_view::npos; });
}

/// Where a child stands among its siblings: input embeddings, the body, closing norms, heads.
int rank(std::string_view name) {
  if (contains_any(name, {"head", "score", "classifier", "embed_out", "qa_outputs", "proj_out"})) return 3;
  if (contains_any(name, {"embed", "wte", "wpe", "shared"})) return 0;
  if (name == "norm" || contains_any(name, {"ln_f", "final", "ln_post", "post_layernorm"})) return 2;
  return 1;
}

bool is_layer_list(const Node& node) {
  return !node.children.empty() && node.tensors.empty() &&
         std::ranges::all_of(node.children, [](const auto& child) { return is_number(child.first); });
}

void sort_children(Node& node) {
  if (is_layer_list(node)) {
    std::ranges::stable_sort(node.children, {}, [](const auto& child) { return number_of(child.first); });
  } else {
    std::ranges::stable_sort(node.children, {}, [](const auto& child) { return rank(child.first); });
  }
}

bool is_small(std::string_view name) {
  return name.ends_with(".bias") || contains_any(name, {"norm", "ln_", ".ln", "inv_freq"});
}

/// Elements of every tensor that no shard describes.
class Estimate {
 public:
  Estimate(const Checkpoint& checkpoint, Dtype dtype) {
    uint64_t unknown_small = 0;
    for (const CheckpointTensor& t : checkpoint.tensors) {
      if (t.described) continue;
      any_ = true;
      ++(is_small(t.name) ? unknown_small : unknown_large_);
    }
    if (!any_) return;
    if (!checkpoint.index_total_size_bytes) {
      throw Error(ErrorCode::unsupported_architecture,
                  "neither the architecture nor the shards nor a total_size in the index tell how large the "
                  "tensors are")
          .with_path(checkpoint.location.weights_path)
          .with_hint("Download the weights; their headers hold the sizes.");
    }
    const uint64_t element_bytes = std::max<uint64_t>(dtype_info(dtype).bits / 8, 1);
    const uint64_t total = std::min<uint64_t>(*checkpoint.index_total_size_bytes, uint64_t{1} << 50);
    const uint64_t known = checkpoint.described_bytes();
    uint64_t remaining = (total - std::min(known, total)) / element_bytes;
    for (const std::string_view key : {"hidden_size", "d_model", "n_embd"}) {
      if (small_ == 0) small_ = checkpoint.config.get_uint(key, 0);
    }
    if (unknown_small > 0) small_ = std::min(small_, remaining / unknown_small);
    remaining -= small_ * unknown_small;
    large_ = unknown_large_ == 0 ? 0 : remaining / unknown_large_;
    remainder_ = unknown_large_ == 0 ? 0 : remaining % unknown_large_;
  }

  bool any() const { return any_; }
  uint64_t elements(std::string_view name) {
    if (is_small(name)) return small_;
    const uint64_t extra = remainder_ > 0 ? 1 : 0;
    remainder_ -= extra;
    return large_ + extra;
  }

 private:
  bool any_ = false;
  uint64_t unknown_large_ = 0, small_ = 0, large_ = 0, remainder_ = 0;
};

class Builder {
 public:
  Builder(const Checkpoint& checkpoint, Dtype dtype)
      : checkpoint_(checkpoint), dtype_(dtype), estimate_(checkpoint, dtype) {
    const ConfigValue* quantization = checkpoint.config.find("quantization_config");
    quantised_ = quantization != nullptr && !quantization->is_null();
  }

  ModuleTree build() {
    Node root;
    for (uint32_t i = 0; i < checkpoint_.tensors.size(); ++i) insert(root, i);
    tree_.from_tensor_names = true;
    tree_.estimated_bytes = estimate_.any();
    const std::vector<std::string> classes = checkpoint_.config.architectures();
    tree_.model_class = classes.empty() ? "Model" : classes[0];
    add(root, "", tree_.model_class, kNoId, false);
    return std::move(tree_);
  }

 private:
  void insert(Node& root, uint32_t tensor) {
    const std::string_view name = checkpoint_.tensors[tensor].name;
    Node* node = &root;
    if (name.empty() || name.front() == '.' || name.back() == '.' ||
        name.find("..") != std::string_view::npos) {
      root.tensors.emplace_back(std::string(name), tensor);
      return;
    }
    size_t begin = 0, depth = 0;
    for (size_t dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', begin)) {
      if (++depth > kMaxDepth) {
        throw Error(ErrorCode::unsupported_architecture,
                    fmt::format("a tensor name has more than {} components", kMaxDepth))
            .with_tensor(std::string(name));
      }
      node = child_of(*node, name.substr(begin, dot - begin));
      begin = dot + 1;
    }
    node->tensors.emplace_back(std::string(name.substr(begin)), tensor);
  }

  ModuleId add(Node& node, const std::string& name, const std::string& class_name, ModuleId parent,
               bool inside_layer) {
    const auto id = static_cast<ModuleId>(tree_.modules.size());
    Module module;
    module.name = name;
    module.class_name = class_name;
    module.parent = parent;
    tree_.modules.push_back(std::move(module));
    for (const auto& [local, tensor] : node.tensors) add_tensor(id, tensor);

    sort_children(node);
    const bool list = is_layer_list(node);
    const std::string layer_class = list ? (name.empty() ? "#" : name + ".#") : "";
    if (list && !inside_layer) tree_.no_split_modules.push_back(layer_class);
    for (auto& [local, child] : node.children) {
      const std::string child_name = name.empty() ? local : fmt::format("{}.{}", name, local);
      const std::string child_class = list ? layer_class : is_layer_list(*child) ? "ModuleList" : "Module";
      const ModuleId child_id = add(*child, child_name, child_class, id, inside_layer || list);
      tree_.modules[id].children.push_back(child_id);
    }
    return id;
  }

  void add_tensor(ModuleId module, uint32_t index) {
    const CheckpointTensor& source = checkpoint_.tensors[index];
    ShellTensor tensor;
    tensor.name = source.name;
    tensor.module = module;
    if (source.described) {
      const bool converts = !quantised_ && (source.dtype == Dtype::f32 || source.dtype == Dtype::f16 ||
                                            source.dtype == Dtype::bf16);
      tensor.dtype = converts ? dtype_ : source.dtype;
      tensor.keeps_dtype = !converts;
      tensor.shape = source.shape;
    } else {
      tensor.dtype = dtype_;
      tensor.shape = {estimate_.elements(source.name)};
    }
    const auto id = static_cast<TensorId>(tree_.tensors.size());
    tensor.created_dtype = tensor.dtype;
    // Names of one storage's elements are one parameter, known by the first of them in the tree.
    const uint32_t same = source.view ? source.view->same_as.value_or(index) : index;
    tensor.object = source.view ? object_of_.try_emplace(same, id).first->second : id;
    tree_.tensors.push_back(std::move(tensor));
    tree_.modules[module].parameters.push_back(id);
  }

  const Checkpoint& checkpoint_;
  Dtype dtype_;
  Estimate estimate_;
  bool quantised_ = false;
  std::unordered_map<uint32_t, TensorId> object_of_;  ///< by the first checkpoint tensor with its elements
  ModuleTree tree_;
};

}  // namespace

ModuleTree tree_from_tensor_names(const Checkpoint& checkpoint, Dtype dtype) {
  return Builder(checkpoint, dtype).build();
}

}  // namespace hfload
