#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/format/dtype.h"
#include "core/model/module_tree.h"

namespace hfload {

/// Whose rules a shell and a plan follow: transformers 4.57 with accelerate 1.x, or the newest
/// transformers 5.
enum class Compat : uint8_t { v4 = 4, v5 = 5 };

/// The vocabulary in which an architecture declares its modules. Every call adds to the module that is open;
/// calls stand in the order of the Python class's `__init__`, as that is the order of the device map. Throws
/// Error(invalid_config) when a tensor's size does not fit in 64 bits or the tree grows past 4,000,000 nodes.
class ModuleBuilder {
 public:
  ModuleBuilder(ModuleTree& tree, Dtype default_dtype, Compat compat);

  /// Opens a child module, runs `body` to fill it, closes it.
  template <std::invocable Body>
  ModuleId module(std::string_view name, std::string_view class_name, Body&& body) {
    const ModuleId id = open(name, class_name);
    body();
    close();
    return id;
  }
  /// A child without parameters: dropout, activation.
  ModuleId module(std::string_view name, std::string_view class_name);
  /// A ModuleList of `count` children named 0, 1, …; `item(i)` declares child i by itself, with
  /// `index_name(i)`.
  template <std::invocable<uint64_t> Item>
  ModuleId list(std::string_view name, uint64_t count, Item&& item) {
    return module(name, "ModuleList", [&] {
      for (uint64_t i = 0; i < count; ++i) item(i);
    });
  }
  /// The same module object as `original`, registered here too: its tensors are the original's.
  ModuleId share(std::string_view name, ModuleId original);

  /// A parameter of the open module, of the default dtype unless given.
  TensorId parameter(std::string_view name, std::initializer_list<uint64_t> shape);
  TensorId parameter(std::string_view name, std::initializer_list<uint64_t> shape, Dtype dtype);
  /// A buffer of the open module.
  TensorId buffer(std::string_view name, std::initializer_list<uint64_t> shape, Dtype dtype, bool persistent);

  /// torch.nn.Linear: weight (out_features, in_features), bias (out_features).
  ModuleId linear(std::string_view name, uint64_t in_features, uint64_t out_features, bool bias);
  /// torch.nn.Embedding: weight (num_embeddings, embedding_dim).
  ModuleId embedding(std::string_view name, uint64_t num_embeddings, uint64_t embedding_dim);
  /// torch.nn.LayerNorm: weight and bias (features).
  ModuleId layer_norm(std::string_view name, uint64_t features);
  /// A norm with a weight only, of the family's own class.
  ModuleId rms_norm(std::string_view name, std::string_view class_name, uint64_t features);
  /// transformers' Conv1D: weight (in_features, out_features), bias (out_features).
  ModuleId conv1d(std::string_view name, uint64_t in_features, uint64_t out_features);
  ModuleId dropout(std::string_view name) { return module(name, "Dropout"); }
  /// The activation module that transformers' ACT2FN gives for this name.
  ModuleId activation(std::string_view name, std::string_view activation_name);

  /// Ends the declaration: renumbers tensors in module order and makes the first place of each object its
  /// representative.
  void finish();

  /// Makes the parameter `name` the same object as `source` (both full names, declared before), as
  /// `tie_weights` does. The shapes may differ in a broken config: the tied one takes the source's.
  void tie(std::string_view name, std::string_view source);

  Compat compat() const { return compat_; }
  Dtype default_dtype() const { return default_dtype_; }

 private:
  ModuleId open(std::string_view name, std::string_view class_name);
  void close();
  std::string full_name(std::string_view name) const;
  TensorId add_tensor(std::string_view name, std::vector<uint64_t> shape, Dtype dtype, bool is_buffer,
                      bool persistent, TensorId object);

  ModuleTree& tree_;
  Dtype default_dtype_;
  Compat compat_;
  ModuleId current_ = 0;
};

/// "0", "1", …: the name of a list's child.
std::string index_name(uint64_t index);

}  // namespace hfload
