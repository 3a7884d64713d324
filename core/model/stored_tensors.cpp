#include "core/model/stored_tensors.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "core/base/error.h"
#include "core/model/match_keys.h"
#include "core/model/quantized_shape.h"

namespace hfload {
namespace {

/// What a stored tensor's name ends in, and the part of it that names the weight.
struct StoredName {
  std::string_view suffix;  ///< "weight.absmax", "qweight", "_blocks"
  std::string_view stem;    ///< for "_blocks" and "_scales" the parameter: "gate_up_proj"; else "weight"
};

constexpr std::string_view kSuffixes[] = {
    // bitsandbytes
    "weight.absmax", "weight.nested_absmax", "weight.nested_quant_map", "weight.quant_map", "SCB",
    "weight_format",
    // GPTQ and AWQ; MLX has its scales and "biases" beside "weight"
    "biases", "qweight", "qzeros", "scales", "g_idx",
    // compressed-tensors and fp8
    "weight_packed", "weight_scale", "weight_scale_inv", "weight_shape", "weight_zero_point", "weight_g_idx",
    "weight_global_scale", "weight_scale_2", "input_scale", "input_zero_point", "input_global_scale",
    "output_scale", "output_zero_point", "activation_scale"};

std::optional<StoredName> stored_name(std::string_view local) {
  for (const std::string_view suffix : kSuffixes) {
    if (local == suffix) return StoredName{suffix, "weight"};
  }
  if (local.starts_with("weight.quant_state.")) return StoredName{"weight.quant_state", "weight"};
  for (const std::string_view suffix : {"_blocks", "_scales"}) {
    if (local.ends_with(suffix)) return StoredName{suffix, local.substr(0, local.size() - suffix.size())};
  }
  return std::nullopt;
}

/// Scales of attention's cache, which are an attention module's, or a projection's, and of no weight.
bool is_cache_scale(std::string_view local) {
  constexpr std::string_view kOwners[] = {"q_", "k_", "v_", "kv_"};
  return std::ranges::any_of(kOwners, [&](std::string_view owner) {
    if (!local.starts_with(owner)) return false;
    const std::string_view rest = local.substr(owner.size());
    return rest == "scale" || rest == "zero_point" || rest == "global_scale";
  });
}

/// The model's name for each tensor of the checkpoint; empty for one that it has no place for.
KeyMatches names_in_model(const ModuleTree& tree, const Checkpoint& checkpoint) {
  try {
    return match_keys(tree, checkpoint);
  } catch (const Error& error) {
    // Names of two schemes: comparing the two, later, reports it.
    if (error.code() != ErrorCode::corrupted_state_dict) throw;
  }
  KeyMatches as_they_are;
  for (const CheckpointTensor& t : checkpoint.tensors) as_they_are.shell_names.push_back(t.name);
  return as_they_are;
}

class Overlay {
 public:
  Overlay(ModuleTree& tree, const Checkpoint& checkpoint, const Quantization& quantization)
      : tree_(tree),
        checkpoint_(checkpoint),
        quantization_(quantization),
        tensors_(tree),
        modules_(tree),
        keys_(names_in_model(tree, checkpoint)),
        names_(keys_.shell_names),
        model_dtype_(tree.tensors.empty() ? Dtype::bf16 : tree.tensors[0].dtype),
        stored_(names_.size()) {
    NameMaker make_name(tree.names);
    for (ModuleId m = 0; m < tree.names.size(); ++m)
      longest_module_ = std::max(longest_module_, make_name(m).size());
    for (uint32_t i = 0; i < names_.size(); ++i) {
      if (!names_[i].empty()) stored_.insert(i, name_of());
    }
    for (TensorId i = 0; i < tree.tensors.size(); ++i) {
      if (tree.tensors[i].object != i) tied_.insert(tree.tensors[i].object);
    }
  }

  uint64_t run() {
    tree_.parameters_before_quantization = tree_.parameter_count();
    for (uint32_t i = 0; i < names_.size(); ++i) {
      if (!names_[i].empty() && tensors_.find(names_[i]) == kNoId) add(names_[i], i);
    }
    for (const TensorId id : quantized_) {
      untie(id);
      const uint32_t i = stored_.find(tree_.tensor_name(id), name_of());
      if (i != NameTable::kNone) {
        store(tree_.tensors[id], i, weights_.at(id), "weight");
      } else {
        drop(id);
      }
    }
    renumber_tensors(tree_);
    return quantized_.size();
  }

 private:
  /// A weight as it is before quantisation, (out_features, in_features).
  struct Weight {
    std::vector<uint64_t> shape;
    Dtype dtype = Dtype::unknown;
  };

  /// By tensor of the checkpoint, for `stored_`.
  struct NameOf {
    const std::vector<std::string_view>& names;
    std::string_view operator()(uint32_t i) const { return names[i]; }
  };
  NameOf name_of() const { return {names_}; }

  /// The module that holds a stored tensor, and the rest of its name: the longest module name that is a
  /// prefix.
  std::pair<ModuleId, std::string_view> owner_of(std::string_view name) const {
    for (size_t dot = name.rfind('.', longest_module_); dot != std::string_view::npos && dot > 0;
         dot = name.rfind('.', dot - 1)) {
      const ModuleId module = modules_.find(name.substr(0, dot));
      if (module != kNoId) return {module, name.substr(dot + 1)};
    }
    return {kNoId, name};
  }

  const Weight& weight_of(TensorId id) {
    const auto [it, is_new] = weights_.try_emplace(id);
    if (is_new) {
      const ShellTensor& tensor = tree_.tensors[id];
      it->second = {tensor.shape, tensor.dtype};
      // GPT-2's layers, (in_features, out_features), become linear ones when they are quantised.
      if (tree_.modules[tensor.module].class_name == "Conv1D") std::ranges::reverse(it->second.shape);
    }
    return it->second;
  }

  void add(std::string_view name, uint32_t i) {
    const auto [module, local] = owner_of(name);
    if (module == kNoId) return;
    if (is_cache_scale(local)) {
      store(add_parameter(module, local), i, {{1, 1}, model_dtype_}, "input_scale");
      return;
    }
    // GPTQ's kernels write a bias also where the model has none.
    const bool is_bias =
        local == "bias" && stored_.find(tree_.names.name(module, "qweight"), name_of()) != NameTable::kNone;
    const auto parts = is_bias ? StoredName{"bias", "weight"} : stored_name(local).value_or(StoredName{});
    if (parts.suffix.empty()) return;
    const TensorId id = tensors_.find(tree_.names.name(module, parts.stem));
    if (id == kNoId || tree_.tensors[id].module != module || tree_.tensors[id].is_buffer) return;

    const Weight& weight = weight_of(id);
    store(add_parameter(module, local), i, weight, parts.suffix);
    if (quantized_set_.insert(id).second) quantized_.push_back(id);
  }

  ShellTensor& add_parameter(ModuleId module, std::string_view name) {
    const auto id = static_cast<TensorId>(tree_.tensors.size());
    ShellTensor& tensor = tree_.tensors.emplace_back();
    tensor.name = PooledText::of_pool(tree_.texts->add_once(name));
    tensor.module = module;
    tensor.object = id;
    tree_.modules[module].parameters.push_back(id);
    return tensor;
  }

  /// Gives the tensor the dtype and shape that it is stored with.
  void store(ShellTensor& tensor, uint32_t i, const Weight& weight, std::string_view suffix) {
    const CheckpointTensor& source = checkpoint_.tensors[i];
    if (source.described) {
      tensor.dtype = source.dtype;
      tensor.shape = source.shape;
    } else if (const auto stored = stored_tensor(quantization_, suffix, weight.shape, weight.dtype)) {
      const auto bytes = tensor_bytes(stored->dtype, stored->shape);
      if (!bytes || *bytes > (uint64_t{1} << 50)) {
        throw Error(ErrorCode::invalid_config, "the quantisation gives this tensor more than 2^50 bytes")
            .with_tensor(tree_.tensor_name(tensor));
      }
      tensor.dtype = stored->dtype;
      tensor.shape = stored->shape;
      tree_.estimated_bytes = tree_.estimated_bytes || !stored->is_exact;
    } else {
      if (suffix != "weight") tensor.shape = {0};
      tree_.estimated_bytes = true;
    }
    tensor.created_dtype = tensor.dtype;
    tensor.keeps_dtype = true;
  }

  /// A quantised weight is an object of its own.
  void untie(TensorId id) {
    const TensorId object = tree_.tensors[id].object;
    if (!tied_.contains(object)) return;
    TensorId heir = kNoId;
    for (TensorId other = 0; other < tree_.tensors.size(); ++other) {
      ShellTensor& tensor = tree_.tensors[other];
      if (other == id || tensor.object != object) continue;
      if (heir == kNoId) heir = object == id ? other : object;
      tensor.object = heir;
    }
    if (heir != kNoId) tied_.insert(heir);
    tree_.tensors[id].object = id;
  }

  void drop(TensorId id) { tree_.modules[tree_.tensors[id].module].parameters.remove(id); }

  ModuleTree& tree_;
  const Checkpoint& checkpoint_;
  const Quantization& quantization_;
  const TensorIndex tensors_;  ///< of the model before
  const ModuleIndex modules_;
  const KeyMatches keys_;
  const std::vector<std::string_view>& names_;  ///< by checkpoint tensor
  const Dtype model_dtype_;
  size_t longest_module_ = 0;          ///< bytes of the longest name of a module
  NameTable stored_;                   ///< the same the other way round
  std::unordered_set<TensorId> tied_;  ///< objects with more than one place
  std::unordered_map<TensorId, Weight> weights_;
  std::vector<TensorId> quantized_;
  std::unordered_set<TensorId> quantized_set_;
};

}  // namespace

uint64_t use_stored_tensors(ModuleTree& tree, const Checkpoint& checkpoint,
                            const Quantization& quantization) {
  // Growing step by step would for a moment take twice the memory.
  tree.tensors.reserve(tree.tensors.size() + checkpoint.tensors.size());
  return Overlay(tree, checkpoint, quantization).run();
}

}  // namespace hfload
