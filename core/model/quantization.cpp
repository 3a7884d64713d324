#include "core/model/quantization.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace hfload {
namespace {

using Method = Quantization::Method;

uint64_t ceil_divide(uint64_t a, uint64_t b) { return b == 0 ? 0 : a / b + (a % b != 0 ? 1 : 0); }

std::string bits_and_groups(const Quantization& q) {
  const std::string groups = q.group_columns == 0 ? "" : fmt::format(", groups of {}", q.group_columns);
  return fmt::format("{} bit{}", q.bits, groups);
}

/// A group size of -1 stands for the whole input.
uint64_t read_group_size(const ModelConfig& config, uint64_t fallback) {
  const ConfigValue* found = config.find("group_size");
  if (found != nullptr && std::holds_alternative<int64_t>(found->value)) return 0;
  return config.get_uint("group_size", fallback);
}

void read_bitsandbytes(Quantization& q, const ModelConfig& config) {
  const bool is_8bit = config.get_bool("load_in_8bit", config.get_bool("_load_in_8bit", false));
  q.method = is_8bit ? Method::bitsandbytes_8bit : Method::bitsandbytes_4bit;
  q.double_quantized = config.get_bool("bnb_4bit_use_double_quant", false);
  q.name = is_8bit
               ? "bitsandbytes, 8 bit"
               : fmt::format("bitsandbytes, 4 bit ({}{})", config.get_string("bnb_4bit_quant_type", "fp4"),
                             q.double_quantized ? ", double quantisation" : "");
}

/// The first group of `config_groups` says how weights are packed.
void read_compressed_tensors(Quantization& q, const ModelConfig& config) {
  q.method = Method::compressed_tensors;
  q.name = fmt::format("compressed-tensors, {}", config.get_string("format", "dense"));
  const ModelConfig groups = config.nested("config_groups");
  const auto* members = std::get_if<ConfigValue::Object>(&groups.root().value);
  if (members == nullptr || members->empty()) return;
  const ModelConfig weights = groups.nested(members->front().first).nested("weights");
  q.bits = weights.get_uint("num_bits", 8);
  q.group_columns = read_group_size(weights, 0);
}

/// What a stored tensor's name ends in, and the part of it that names the weight.
struct StoredName {
  std::string_view suffix;  ///< "weight.absmax", "qweight", "_blocks"
  std::string_view stem;    ///< for "_blocks" and "_scales" the parameter: "gate_up_proj"; else "weight"
};

constexpr std::string_view kSuffixes[] = {
    // bitsandbytes
    "weight.absmax", "weight.nested_absmax", "weight.nested_quant_map", "weight.quant_map", "SCB",
    "weight_format",
    // GPTQ and AWQ
    "qweight", "qzeros", "scales", "g_idx",
    // compressed-tensors and fp8
    "weight_packed", "weight_scale", "weight_scale_inv", "weight_shape", "weight_zero_point", "weight_g_idx",
    "weight_global_scale", "input_scale", "input_zero_point", "input_global_scale", "output_scale",
    "activation_scale", "k_scale", "v_scale"};

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

struct Stored {
  Dtype dtype = Dtype::u8;
  std::vector<uint64_t> shape;
  bool is_exact = true;
};

/// bitsandbytes writes a JSON text of about this many bytes a weight.
constexpr uint64_t kQuantStateBytes = 172;

/// What the method stores under that suffix for a weight of that shape, (out_features, in_features), or, for
/// mxfp4, (experts, in_features, out_features).
std::optional<Stored> stored_shape(const Quantization& q, std::string_view suffix,
                                   const std::vector<uint64_t>& weight) {
  if (weight.size() == 3 && q.method == Method::mxfp4) {
    const uint64_t experts = weight[0], in = weight[1], out = weight[2];
    if (suffix == "_blocks") return Stored{Dtype::u8, {experts, out, in / 32, 16}};
    if (suffix == "_scales") return Stored{Dtype::u8, {experts, out, in / 32}};
    return std::nullopt;
  }
  if (weight.size() != 2) return std::nullopt;
  const uint64_t out = weight[0], in = weight[1];
  const uint64_t elements = element_count(weight).value_or(0);
  const uint64_t groups = q.group_columns == 0 ? 1 : ceil_divide(in, q.group_columns);
  switch (q.method) {
    case Method::bitsandbytes_4bit: {
      const uint64_t blocks = ceil_divide(elements, 64);
      if (suffix == "weight") return Stored{Dtype::u8, {ceil_divide(elements, 2), 1}};
      if (suffix == "weight.absmax") return Stored{q.double_quantized ? Dtype::u8 : Dtype::f32, {blocks}};
      if (suffix == "weight.nested_absmax") return Stored{Dtype::f32, {ceil_divide(blocks, 256)}};
      if (suffix == "weight.nested_quant_map") return Stored{Dtype::f32, {256}};
      if (suffix == "weight.quant_map") return Stored{Dtype::f32, {16}};
      if (suffix == "weight.quant_state") return Stored{Dtype::u8, {kQuantStateBytes}, false};
      return std::nullopt;
    }
    case Method::bitsandbytes_8bit:
      if (suffix == "weight") return Stored{Dtype::i8, {out, in}};
      if (suffix == "SCB") return Stored{Dtype::f32, {out}};
      if (suffix == "weight_format") return Stored{Dtype::u8, {}};
      return std::nullopt;
    case Method::gptq:
    case Method::awq: {
      const uint64_t packed_out = ceil_divide(out * q.bits, 32);
      if (suffix == "qweight" && q.method == Method::gptq)
        return Stored{Dtype::i32, {ceil_divide(in * q.bits, 32), out}};
      if (suffix == "qweight") return Stored{Dtype::i32, {in, packed_out}};
      if (suffix == "qzeros") return Stored{Dtype::i32, {groups, packed_out}};
      if (suffix == "scales") return Stored{Dtype::f16, {groups, out}};
      if (suffix == "g_idx") return Stored{Dtype::i32, {in}};
      return std::nullopt;
    }
    case Method::compressed_tensors:
      if (suffix == "weight") return Stored{q.bits == 8 ? Dtype::f8_e4m3 : Dtype::u8, {out, in}};
      if (suffix == "weight_packed") return Stored{Dtype::i32, {out, ceil_divide(in * q.bits, 32)}};
      if (suffix == "weight_scale") return Stored{Dtype::bf16, {out, groups}};
      if (suffix == "weight_shape") return Stored{Dtype::i64, {2}};
      if (suffix == "weight_zero_point") return Stored{Dtype::i32, {ceil_divide(out * q.bits, 32), groups}};
      if (suffix == "weight_g_idx") return Stored{Dtype::i32, {in}};
      return std::nullopt;
    case Method::fp8:
      if (suffix == "weight") return Stored{Dtype::f8_e4m3, {out, in}};
      if (suffix == "weight_scale_inv")
        return Stored{Dtype::f32, {ceil_divide(out, q.block_rows), ceil_divide(in, q.block_columns)}};
      return std::nullopt;
    case Method::mxfp4:
    case Method::other:
      return std::nullopt;
  }
  return std::nullopt;
}

class Overlay {
 public:
  Overlay(ModuleTree& tree, const Checkpoint& checkpoint, const Quantization& quantization)
      : tree_(tree), checkpoint_(checkpoint), quantization_(quantization), index_(tree) {
    find_prefix();
    for (uint32_t i = 0; i < checkpoint.tensors.size(); ++i) stored_.emplace(shell_name(i), i);
  }

  uint64_t run() {
    tree_.parameters_before_quantization = tree_.parameter_count();
    std::vector<std::pair<std::string, uint32_t>> extras;
    for (const auto& [name, i] : stored_) {
      if (index_.tensor(name) == kNoId) extras.emplace_back(name, i);
    }
    std::ranges::sort(extras, {}, &std::pair<std::string, uint32_t>::second);
    for (const auto& [name, i] : extras) add(name, i);
    for (const TensorId weight : quantized_) {
      const std::string& name = tree_.tensors[weight].name;
      if (const auto it = stored_.find(name); it != stored_.end()) {
        store(tree_.tensors[weight], it->second, weight_shape_of(weight), "weight");
      } else {
        drop(weight);
      }
    }
    renumber_tensors(tree_);
    return quantized_.size();
  }

 private:
  void find_prefix() {
    if (tree_.base_model_prefix.empty()) return;
    const bool has = std::ranges::any_of(checkpoint_.tensors, [&](const CheckpointTensor& t) {
      return t.name.starts_with(tree_.base_model_prefix + ".");
    });
    const bool expects = index_.module(tree_.base_model_prefix) != kNoId;
    if (has && !expects) strip_ = tree_.base_model_prefix + ".";
    if (expects && !has) add_ = tree_.base_model_prefix + ".";
  }

  std::string shell_name(uint32_t tensor) const {
    std::string name = checkpoint_.tensors[tensor].name;
    if (!strip_.empty() && name.starts_with(strip_)) name.erase(0, strip_.size());
    return add_ + name;
  }

  /// The module that holds a stored tensor, and the rest of its name: the longest module name that is a
  /// prefix.
  std::pair<ModuleId, std::string_view> owner_of(std::string_view name) const {
    for (size_t dot = name.rfind('.'); dot != std::string_view::npos && dot > 0;
         dot = name.rfind('.', dot - 1)) {
      const ModuleId module = index_.module(name.substr(0, dot));
      if (module != kNoId) return {module, name.substr(dot + 1)};
    }
    return {kNoId, name};
  }

  const std::vector<uint64_t>& weight_shape_of(TensorId weight) {
    return original_shapes_.try_emplace(weight, tree_.tensors[weight].shape).first->second;
  }

  void add(const std::string& name, uint32_t i) {
    const auto [module, local] = owner_of(name);
    if (module == kNoId) return;
    const std::string& path = tree_.modules[module].name;
    // GPTQ's kernels write a bias also where the model has none.
    const bool is_bias = local == "bias" && stored_.contains(path + ".qweight");
    const auto parts = is_bias ? StoredName{"bias", "weight"} : stored_name(local).value_or(StoredName{});
    if (parts.suffix.empty()) return;
    const TensorId weight = index_.tensor(fmt::format("{}.{}", path, parts.stem));
    if (weight == kNoId) return;
    if (std::ranges::find(tree_.modules[module].parameters, weight) == tree_.modules[module].parameters.end())
      return;

    ShellTensor tensor;
    tensor.name = name;
    tensor.module = module;
    if (is_bias && !checkpoint_.tensors[i].described) {
      tensor.shape = {weight_shape_of(weight).empty() ? 0 : weight_shape_of(weight)[0]};
      tensor.dtype = Dtype::f16;
    } else {
      store(tensor, i, weight_shape_of(weight), parts.suffix);
    }
    tensor.created_dtype = tensor.dtype;
    tensor.keeps_dtype = true;
    const auto id = static_cast<TensorId>(tree_.tensors.size());
    tensor.object = id;
    tree_.tensors.push_back(std::move(tensor));
    tree_.modules[module].parameters.push_back(id);
    if (quantized_set_.insert(weight).second) quantized_.push_back(weight);
  }

  /// Gives the tensor the dtype and shape that it is stored with.
  void store(ShellTensor& tensor, uint32_t i, const std::vector<uint64_t>& weight, std::string_view suffix) {
    const CheckpointTensor& source = checkpoint_.tensors[i];
    if (source.described) {
      tensor.dtype = source.dtype;
      tensor.shape = source.shape;
    } else if (const auto shape = stored_shape(quantization_, suffix, weight)) {
      tensor.dtype = shape->dtype;
      tensor.shape = shape->shape;
      tree_.estimated_bytes = tree_.estimated_bytes || !shape->is_exact;
    } else if (suffix != "weight") {
      tensor.shape = {0};
      tree_.estimated_bytes = true;
    }
    tensor.created_dtype = tensor.dtype;
    tensor.keeps_dtype = true;
  }

  void drop(TensorId weight) { std::erase(tree_.modules[tree_.tensors[weight].module].parameters, weight); }

  ModuleTree& tree_;
  const Checkpoint& checkpoint_;
  const Quantization& quantization_;
  const ModuleIndex index_;
  std::string strip_, add_;
  std::unordered_map<std::string, uint32_t> stored_;  ///< the shell's name of each checkpoint tensor
  std::unordered_map<TensorId, std::vector<uint64_t>> original_shapes_;
  std::vector<TensorId> quantized_;
  std::unordered_set<TensorId> quantized_set_;
};

}  // namespace

std::optional<Quantization> read_quantization(const ModelConfig& config) {
  const ConfigValue* found = config.find("quantization_config");
  if (found == nullptr || found->is_null()) return std::nullopt;
  const ModelConfig quantization = config.nested("quantization_config");
  // bitsandbytes' first releases wrote no method.
  std::string method = quantization.get_string("quant_method", "");
  if (method.empty() &&
      (quantization.find("load_in_8bit") != nullptr || quantization.find("load_in_4bit") != nullptr))
    method = "bitsandbytes";

  Quantization q;
  q.name = method.empty() ? "an unnamed method" : method;
  q.bits = quantization.get_uint("bits", quantization.get_uint("w_bit", 4));
  q.group_columns = read_group_size(quantization, quantization.get_uint("q_group_size", 128));
  if (method == "bitsandbytes") {
    read_bitsandbytes(q, quantization);
  } else if (method == "gptq") {
    q.method = Method::gptq;
    q.name = "GPTQ, " + bits_and_groups(q);
  } else if (method == "awq") {
    q.method = Method::awq;
    q.name = "AWQ, " + bits_and_groups(q);
  } else if (method == "compressed-tensors" || method == "compressed_tensors") {
    read_compressed_tensors(q, quantization);
  } else if (method == "fp8") {
    q.method = Method::fp8;
    if (const auto block = quantization.get_uints("weight_block_size"); block && block->size() == 2) {
      q.block_rows = (*block)[0];
      q.block_columns = (*block)[1];
    }
    q.name = fmt::format("fp8 in blocks of {} x {}", q.block_rows, q.block_columns);
  } else if (method == "mxfp4") {
    q.method = Method::mxfp4;
    q.name = "mxfp4";
  }
  return q;
}

uint64_t use_stored_tensors(ModuleTree& tree, const Checkpoint& checkpoint,
                            const Quantization& quantization) {
  return Overlay(tree, checkpoint, quantization).run();
}

}  // namespace hfload
