#include "core/model/tree_from_names.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/name_table.h"

namespace hfload {
namespace {

// Deeper than any model, and shallow enough for the recursion below.
constexpr size_t kMaxDepth = 100;

constexpr uint32_t kNone = NameTable::kNone;

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

/// The dotted components of a checkpoint's names before the last one, each once; number 0 is the root. The
/// checkpoint must outlive it.
class NameTrie {
  /// By tensor, for `by_name_`.
  struct NameOf {
    const Checkpoint& checkpoint;
    std::string_view operator()(uint32_t tensor) const { return checkpoint.tensors[tensor].name; }
  };

 public:
  explicit NameTrie(const Checkpoint& checkpoint)
      : checkpoint_(checkpoint),
        by_name_(checkpoint.tensors.size()),
        next_tensor_(checkpoint.tensors.size(), kNone) {
    for (uint32_t i = 0; i < checkpoint.tensors.size(); ++i) by_name_.insert(i, NameOf{checkpoint_});
    // A module of each tensor's own, and as many above them: growing would for a moment take twice the
    // memory, and pages that nothing is written to take none.
    nodes_.reserve(2 * checkpoint.tensors.size() + 1);
    nodes_.emplace_back();
    NameTable by_path(checkpoint.tensors.size());
    for (uint32_t i = 0; i < checkpoint.tensors.size(); ++i) insert(i, by_path);
  }

  size_t size() const { return nodes_.size(); }
  std::string_view path(uint32_t node) const { return {nodes_[node].path, nodes_[node].path_bytes}; }
  /// The last component of its path.
  std::string_view name(uint32_t node) const {
    const std::string_view whole = path(node);
    return whole.substr(whole.rfind('.') + 1);
  }
  /// Calls `visit` with each tensor directly in it, into Checkpoint::tensors.
  template <class Visit>
  void for_each_tensor(uint32_t node, Visit&& visit) const {
    all_of(
        nodes_[node].last_tensor, [this](uint32_t tensor) { return next_tensor_[tensor]; },
        [&](uint32_t tensor) {
          visit(tensor);
          return true;
        });
  }

  bool is_layer_list(uint32_t node) const {
    const Node& n = nodes_[node];
    return n.last_child != kNone && n.last_tensor == kNone &&
           all_of(
               n.last_child, [this](uint32_t child) { return nodes_[child].next; },
               [&](uint32_t child) { return is_number(name(child)); });
  }

  std::vector<uint32_t> sorted_children(uint32_t node) const {
    const bool is_list = is_layer_list(node);
    std::vector<std::pair<uint64_t, uint32_t>> keyed;
    all_of(
        nodes_[node].last_child, [this](uint32_t child) { return nodes_[child].next; },
        [&](uint32_t child) {
          const std::string_view component = name(child);
          keyed.emplace_back(is_list ? number_of(component) : static_cast<uint64_t>(rank(component)), child);
          return true;
        });
    const auto key = &std::pair<uint64_t, uint32_t>::first;
    if (!std::ranges::is_sorted(keyed, {}, key)) std::ranges::stable_sort(keyed, {}, key);
    std::vector<uint32_t> children(keyed.size());
    std::ranges::transform(keyed, children.begin(), &std::pair<uint64_t, uint32_t>::second);
    return children;
  }

 private:
  /// There may be 10^5 and more. Children and tensors are in the order of the checkpoint, each followed by
  /// the next and the last by the first.
  struct Node {
    const char* path = "";  ///< the beginning of a tensor's name
    uint32_t path_bytes = 0;
    uint32_t last_child = kNone, last_tensor = kNone;
    uint32_t next = kNone;  ///< its sibling
  };

  /// Whether the predicate holds of all on a list, by its last; of those after one of which it does not hold
  /// it is not asked.
  template <class Next, class Predicate>
  static bool all_of(uint32_t last, const Next& next, Predicate&& holds) {
    for (uint32_t i = last; i != kNone;) {
      i = next(i);
      if (!holds(i)) return false;
      if (i == last) break;
    }
    return true;
  }

  void insert(uint32_t tensor, NameTable& by_path) {
    const std::string_view name = checkpoint_.tensors[tensor].name;
    const bool is_odd = name.empty() || name.front() == '.' || name.back() == '.' ||
                        name.find("..") != std::string_view::npos;
    if (static_cast<size_t>(std::ranges::count(name, '.')) > kMaxDepth) {
      throw Error(ErrorCode::unsupported_architecture,
                  fmt::format("a tensor name has more than {} components", kMaxDepth))
          .with_tensor(std::string(name));
    }
    const size_t dot = name.rfind('.');
    const uint32_t node = is_odd || dot == std::string_view::npos ? 0 : node_of(name.substr(0, dot), by_path);
    append(nodes_[node].last_tensor, tensor, [&](uint32_t t) -> uint32_t& { return next_tensor_[t]; });
  }

  /// The node of `path`, the beginning of a tensor's name; where that is a tensor's name or below one, the
  /// node of what is before it.
  uint32_t node_of(std::string_view path, NameTable& by_path) {
    if (path.empty()) return 0;
    const auto path_of = [this](uint32_t node) { return this->path(node); };
    if (const uint32_t known = by_path.find(path, path_of); known != kNone) return known;
    const size_t dot = path.rfind('.');
    const std::string_view before = path.substr(0, dot == std::string_view::npos ? 0 : dot);
    const uint32_t parent = node_of(before, by_path);
    const bool is_below_tensor = this->path(parent).size() != before.size();
    if (is_below_tensor || by_name_.find(path, NameOf{checkpoint_}) != kNone) return parent;
    const auto node = static_cast<uint32_t>(nodes_.size());
    Node& added = nodes_.emplace_back();
    added.path = path.data();
    added.path_bytes = static_cast<uint32_t>(path.size());
    by_path.insert(node, path, path_of);
    append(nodes_[parent].last_child, node, [&](uint32_t n) -> uint32_t& { return nodes_[n].next; });
    return node;
  }

  template <class Next>
  static void append(uint32_t& last, uint32_t number, const Next& next) {
    next(number) = last == kNone ? number : std::exchange(next(last), number);
    last = number;
  }

  const Checkpoint& checkpoint_;
  std::vector<Node> nodes_;
  NameTable by_name_;                  ///< of the checkpoint's tensors
  std::vector<uint32_t> next_tensor_;  ///< by tensor: the one after it in its node; after the last the first
};

bool is_small(std::string_view name) {
  return name.ends_with(".bias") || contains_any(name, {"norm", "ln_", ".ln", "inv_freq"});
}

/// Elements of every tensor that no shard describes.
class Estimate {
 public:
  /// `stored`: the dtype of the weights in the files.
  Estimate(const Checkpoint& checkpoint, Dtype stored) {
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
    const uint64_t element_bytes = std::max<uint64_t>(dtype_info(stored).bits / 8, 1);
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
  Builder(const Checkpoint& checkpoint, Dtype stored, Dtype dtype)
      : checkpoint_(checkpoint),
        stored_(stored),
        dtype_(dtype),
        estimate_(checkpoint, stored),
        trie_(checkpoint) {
    const ConfigValue* quantization = checkpoint.config.find("quantization_config");
    quantised_ = quantization != nullptr && !quantization->is_null();
  }

  ModuleTree build() {
    tree_.from_tensor_names = true;
    tree_.estimated_bytes = estimate_.any();
    const std::vector<std::string> classes = checkpoint_.config.architectures();
    tree_.model_class = classes.empty() ? "Model" : classes[0];
    tree_.modules.reserve(trie_.size());
    tree_.names.reserve(trie_.size());
    tree_.tensors.reserve(checkpoint_.tensors.size());
    add(0, tree_.model_class, kNoId, false);
    return std::move(tree_);
  }

 private:
  ModuleId add(uint32_t node, std::string_view class_name, ModuleId parent, bool inside_layer) {
    const ModuleId id = tree_.add_module(parent, parent == kNoId ? "" : trie_.name(node), class_name);
    trie_.for_each_tensor(node, [&](uint32_t tensor) { add_tensor(id, trie_.path(node), tensor); });

    const bool list = trie_.is_layer_list(node);
    const std::string layer_class = list ? tree_.names.name(id, "#") : "";
    if (list && !inside_layer) tree_.no_split_modules.push_back(layer_class);
    for (const uint32_t child : trie_.sorted_children(node)) {
      const std::string_view other_class = trie_.is_layer_list(child) ? "ModuleList" : "Module";
      add(child, list ? std::string_view(layer_class) : other_class, id, inside_layer || list);
    }
    return id;
  }

  /// `path`: the module's name.
  void add_tensor(ModuleId module, std::string_view path, uint32_t index) {
    const CheckpointTensor& source = checkpoint_.tensors[index];
    ShellTensor tensor;
    std::string_view name = source.name;
    if (!path.empty()) name.remove_prefix(path.size() + 1);
    tensor.name = PooledText::of_pool(tree_.texts->add_once(name));
    tensor.module = module;
    if (source.described) {
      const bool converts = !quantised_ && (source.dtype == Dtype::f32 || source.dtype == Dtype::f16 ||
                                            source.dtype == Dtype::bf16);
      tensor.dtype = converts ? dtype_ : source.dtype;
      tensor.keeps_dtype = !converts;
      tensor.shape = source.shape;
    } else {
      tensor.dtype = quantised_ ? stored_ : dtype_;
      tensor.shape = {estimate_.elements(source.name)};
    }
    const auto id = static_cast<TensorId>(tree_.tensors.size());
    tensor.created_dtype = tensor.dtype;
    // Names of one storage's elements are one parameter, known by the first of them in the tree.
    const uint32_t same = source.first_tied(index);
    tensor.object = source.view ? object_of_.try_emplace(same, id).first->second : id;
    tree_.tensors.push_back(std::move(tensor));
    tree_.modules[module].parameters.push_back(id);
  }

  const Checkpoint& checkpoint_;
  Dtype stored_, dtype_;
  Estimate estimate_;
  NameTrie trie_;
  bool quantised_ = false;
  std::unordered_map<uint32_t, TensorId> object_of_;  ///< by the first checkpoint tensor with its elements
  ModuleTree tree_;
};

}  // namespace

ModuleTree tree_from_tensor_names(const Checkpoint& checkpoint, Dtype stored, Dtype dtype) {
  return Builder(checkpoint, stored, dtype).build();
}

}  // namespace hfload
