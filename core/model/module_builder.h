#pragma once

#include <concepts>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "core/format/dtype.h"
#include "core/format/model_config.h"
#include "core/model/module_tree.h"

namespace hfload {

/// The vocabulary in which an architecture declares its modules. Every call adds to the module that is open;
/// calls stand in the order of the Python class's `__init__`, as that is the order of the device map. Throws
/// Error(invalid_config) when a tensor's size does not fit in 64 bits or the tree grows past 4,000,000 nodes.
class ModuleBuilder {
 public:
  /// Follows the rules that `tree.compat` names. `parts_have_dtypes`: a part of the model is made in the
  /// dtype of its own config, as `dtype="auto"` of transformers 4.57 makes it; else in `default_dtype`, too.
  ModuleBuilder(ModuleTree& tree, Dtype default_dtype, bool parts_have_dtypes);

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
  /// A child that is a whole model: the names that `body` gives to `tie` begin at it.
  template <std::invocable Body>
  ModuleId sub_model(std::string_view name, std::string_view class_name, Body&& body) {
    const std::string outer = std::exchange(tie_prefix_, full_name(name) + ".");
    const ModuleId id = module(name, class_name, body);
    tie_prefix_ = outer;
    return id;
  }
  /// Runs `body`, which declares a part of the model that the Python class makes by `_from_config` of the
  /// part's config. Throws Error(invalid_config) for a dtype in it that no weights can have.
  template <std::invocable Body>
  void part(const ModelConfig& config, Body&& body) {
    const Dtype outer = std::exchange(default_dtype_, dtype_of_part(config));
    body();
    default_dtype_ = outer;
  }
  /// A ModuleList of `count` children named 0, 1, …; `item(i)` declares child i by itself, with
  /// `index_name(i)`.
  template <std::invocable<uint64_t> Item>
  ModuleId list(std::string_view name, uint64_t count, Item&& item) {
    return module(name, "ModuleList", [&] {
      for (uint64_t i = 0; i < count; ++i) {
        const size_t modules = tree_.modules.size(), tensors = tree_.tensors.size();
        item(i);
        expect_more_like(modules, tensors, count - 1 - i);
      }
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
  /// torch.nn.Conv2d: weight (out_channels, in_channels, kernel height, kernel width), bias (out_channels).
  ModuleId conv2d(std::string_view name, uint64_t in_channels, uint64_t out_channels, uint64_t kernel_height,
                  uint64_t kernel_width, bool bias);
  ModuleId dropout(std::string_view name) { return module(name, "Dropout"); }
  /// A rotary position embedding of the family's own class: buffer inv_freq (frequencies), which transformers
  /// 5 keeps a copy of.
  ModuleId rotary_embedding(std::string_view name, std::string_view class_name, uint64_t frequencies);
  /// The activation module that transformers' ACT2FN gives for this name.
  ModuleId activation(std::string_view name, std::string_view activation_name);

  /// The open module is self-attention that caches keys and values of `kv_heads` heads of `head_dim`, of the
  /// last `window_tokens` tokens or, with 0, of all.
  void attention_cache(uint64_t kv_heads, uint64_t head_dim, uint64_t window_tokens = 0);
  /// The open module is cross-attention: it caches the source's keys and values, of `source_tokens` tokens
  /// or, with 0, of as many as the context has.
  void cross_attention_cache(uint64_t kv_heads, uint64_t head_dim, uint64_t source_tokens = 0);
  /// The open module is latent attention: it caches one vector a token for all heads (DeepSeek-V2,
  /// section 2.1: kv_lora_rank + qk_rope_head_dim elements).
  void latent_cache(uint64_t elements_per_token);
  /// The open module keeps a state of that many elements (Mamba: convolution and state-space states), and
  /// one that is float32 whatever the dtype is.
  void state_cache(uint64_t elements, uint64_t float32_elements = 0);

  /// Modules of this class are not split either: one inside a model that the config puts together.
  void no_split(std::string_view class_name);
  /// Adds to `_keys_to_ignore_on_load_unexpected`: the regular expression of such a model.
  void ignore_unexpected(std::string_view pattern);

  /// Ends the declaration: renumbers tensors in module order and makes the first place of each object its
  /// representative.
  void finish();

  /// Makes the parameter `name` the same object as `source` (both full names, declared before), as
  /// `tie_weights` does. The shapes may differ in a broken config: the tied one takes the source's. By the
  /// rules of transformers 5, `name` is a target of `_tied_weights_keys` and `source` its source.
  void tie(std::string_view name, std::string_view source);

  /// Whether the rules are those of transformers 5.
  bool is_v5() const { return tree_.compat == Compat::v5; }
  Dtype default_dtype() const { return default_dtype_; }

 private:
  ModuleId open(std::string_view name, std::string_view class_name);
  Dtype dtype_of_part(const ModelConfig& config) const;
  /// Makes room for as many modules and tensors as were added since there were so many, `times` over: pages
  /// that growing vectors would touch and leave are half of a large model's planning time.
  void expect_more_like(size_t modules_before, size_t tensors_before, uint64_t times);
  void close();
  std::string full_name(std::string_view name) const { return tree_.names.name(current_, name); }
  TensorId add_tensor(std::string_view name, std::span<const uint64_t> shape, Dtype dtype, bool is_buffer,
                      bool persistent, TensorId object);

  ModuleTree& tree_;
  Dtype default_dtype_;
  bool parts_have_dtypes_;
  ModuleId current_ = 0;
  std::string tie_prefix_;  ///< of the sub-model that is open
  ShapeMaker make_shape_;
};

/// a * b of two numbers of a config, for a shape. Throws Error(invalid_config) where it is above 2^50, which
/// no model comes near. A getter's number is at most 2^48: a small constant times one, and the sum of a few,
/// need no such care.
uint64_t product(uint64_t a, uint64_t b);
/// a - b. Throws Error(invalid_config) where b is the greater.
uint64_t difference(uint64_t a, uint64_t b);

/// "0", "1", …: the name of a list's child.
std::string index_name(uint64_t index);

}  // namespace hfload
