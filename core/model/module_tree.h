#pragma once

#include <concepts>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/id_list.h"
#include "core/base/name_table.h"
#include "core/base/text_pool.h"
#include "core/format/dtype.h"
#include "core/format/shape.h"
#include "core/model/module_names.h"

namespace hfload {

/// Whose rules a shell and a plan follow: transformers 4.57 with accelerate 1.x, or the newest
/// transformers 5.
enum class Compat : uint8_t { v4 = 4, v5 = 5 };

/// A parameter or buffer of the model's shell, at one place in the module tree. There may be 10^5 and more.
struct ShellTensor {
  PooledText name;  ///< below its module: "weight"; ModuleTree::tensor_name has all of it
  ModuleId module = kNoId;
  Dtype dtype = Dtype::f32;          ///< the dtype it has in memory once loaded
  Dtype created_dtype = Dtype::f32;  ///< the dtype the shell is made with, which transformers 5 plans by
  Shape shape;
  bool is_buffer = false;
  bool persistent = true;  ///< false: a buffer that no checkpoint holds
  bool keeps_dtype =
      false;  ///< counted and loaded at `dtype` whatever the model's dtype is (kept in float32, quantised)
  /// The place that stands for the torch object: itself, unless tied or in a shared module. By the rules of
  /// transformers 4 the first place of the object, by those of transformers 5 the source of its tie.
  TensorId object = kNoId;
};

/// A module at one place in the tree; ModuleTree::names has its name and the module above it.
struct Module {
  PooledText class_name;  ///< "LlamaDecoderLayer"
  IdList children;        ///< in registration order, those without parameters included
  IdList parameters;      ///< direct ones, in registration order
};

/// What one layer keeps of the tokens it has seen, per sequence, while a model generates.
struct LayerCache {
  ModuleId module = kNoId;          ///< the attention or mixer module
  uint64_t elements_per_token = 0;  ///< keys and values together
  uint64_t window_tokens = 0;       ///< no more tokens than these are kept; 0: all of them
  uint64_t source_tokens = 0;   ///< a cross-attention's tokens where their number is fixed; 0: the context's
  uint64_t state_elements = 0;  ///< kept whatever the number of tokens (a state-space layer)
  uint64_t float32_state_elements = 0;  ///< the same, in float32 whatever the caches' dtype
};

/// The model's empty shell: what `init_empty_weights` + `from_config` + `tie_weights` give in Python. Modules
/// stand in depth-first registration order (`named_modules`), tensors in the order of their modules, a
/// module's parameters before its buffers. A module object registered under two parents (T5's shared
/// embedding) stands at each of them; its tensors' `object` says which are one.
struct ModuleTree {
  /// Holds names of modules, classes and tensors. Copies of the tree share it, as it only grows:
  /// two that grow must not do so at the same time.
  std::shared_ptr<TextPool> texts = std::make_shared<TextPool>();
  ModuleNames names;  ///< by ModuleId
  std::vector<Module> modules;
  std::map<ModuleId, IdList>
      buffers;  ///< of the few modules that have any: direct ones, in registration order
  std::vector<ShellTensor> tensors;
  std::vector<LayerCache> layer_caches;        ///< in module order; none for a model that does not generate
  std::vector<std::string> no_split_modules;   ///< class names that the architecture does not let split
  std::string model_class;                     ///< "LlamaForCausalLM"
  std::string base_model_prefix;               ///< "model"; may be empty
  std::vector<std::string> ignore_missing;     ///< regular expressions, `_keys_to_ignore_on_load_missing`
  std::vector<std::string> ignore_unexpected;  ///< regular expressions, `_keys_to_ignore_on_load_unexpected`
  /// Checkpoints' names for tensors, as regular expressions, and what replaces each match to give the
  /// model's.
  std::vector<std::pair<std::string, std::string>> key_renames;
  Compat compat = Compat::v4;      ///< whose rules built it
  bool from_tensor_names = false;  ///< true when the architecture was unknown (see tree_from_tensor_names)
  /// Set where stored tensors stand in the place of quantised weights: how many elements the weights had.
  std::optional<uint64_t> parameters_before_quantization;
  bool estimated_bytes = false;  ///< true when tensor sizes are guesses: no shard was there to read them from

  /// Adds the last child of `parent`, or with kNoId the model itself, whose name is "".
  ModuleId add_module(ModuleId parent, std::string_view name, std::string_view class_name);

  /// Direct ones, in registration order.
  const IdList& parameters_of(ModuleId module) const { return modules[module].parameters; }
  const IdList& buffers_of(ModuleId module) const;
  /// Both, parameters first.
  template <std::invocable<TensorId> Visit>
  void for_each_tensor_of(ModuleId module, Visit&& visit) const {
    for (const TensorId tensor : parameters_of(module)) visit(tensor);
    for (const TensorId tensor : buffers_of(module)) visit(tensor);
  }

  /// One past the last module below this one: the modules below it stand right after it.
  ModuleId end_of(ModuleId module) const;

  /// The full names: "model.layers.0", "model.embed_tokens.weight". NameMaker makes many in less time.
  std::string module_name(ModuleId module) const { return names.name(module); }
  std::string tensor_name(const ShellTensor& tensor) const { return names.name(tensor.module, tensor.name); }
  std::string tensor_name(TensorId tensor) const { return tensor_name(tensors[tensor]); }
  bool has_name(const ShellTensor& tensor, std::string_view name) const {
    return names.is_name(tensor.module, tensor.name, name);
  }

  /// Groups of parameters that are one object, each sorted by name, the groups in the order of their first
  /// place (accelerate 1.x, `find_tied_parameters`).
  std::vector<std::vector<std::string>> tied_groups() const;
  /// Total number of elements of the distinct parameters (transformers' `num_parameters`), quantised ones
  /// counted as they were before.
  uint64_t parameter_count() const;
};

/// Numbers the tensors that modules hold in module order, drops those that none holds, and makes one place of
/// each object its representative (see ShellTensor::object).
void renumber_tensors(ModuleTree& tree);

/// Bytes of one tensor of the shell as torch allocates it; checked when the tree was built.
uint64_t shell_tensor_bytes(const ShellTensor& tensor);

/// Names of tensors to their ids. The tree must outlive it; what is added to the tree later is not found.
class TensorIndex {
 public:
  explicit TensorIndex(const ModuleTree& tree);
  /// kNoId when there is none of that name.
  TensorId find(std::string_view name) const;

 private:
  const ModuleTree& tree_;
  NameTable table_;
};

/// The same of modules.
class ModuleIndex {
 public:
  explicit ModuleIndex(const ModuleTree& tree);
  /// kNoId when there is none of that name.
  ModuleId find(std::string_view name) const;

 private:
  const ModuleNames& names_;
  NameTable table_;
};

}  // namespace hfload
