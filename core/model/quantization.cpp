#include "core/model/quantization.h"

#include <fmt/core.h>

#include <initializer_list>
#include <string_view>

namespace hfload {
namespace {

using Method = Quantization::Method;
using Scales = Quantization::Scales;

constexpr const char* kSection = "quantization_config";

uint64_t read_bits(const ModelConfig& config, std::initializer_list<std::string_view> keys,
                   uint64_t fallback) {
  const uint64_t bits = config.get_uint(keys, fallback);
  if (bits < 1 || bits > 32) throw config.invalid(*keys.begin(), "a number of bits from 1 to 32");
  return bits;
}

/// -1 stands for the whole input.
uint64_t read_group_size(const ModelConfig& config, std::string_view key, uint64_t fallback) {
  const ConfigValue* found = config.find(key);
  if (found != nullptr && std::holds_alternative<int64_t>(found->value)) return 0;
  return config.get_uint(key, fallback);
}

/// Rows and columns of a block; nothing where the key is null.
void read_block(Quantization& q, const ModelConfig& config, std::string_view key) {
  const ConfigValue* found = config.find(key);
  // compressed-tensors once wrote "128x128".
  if (found != nullptr && std::holds_alternative<std::string>(found->value)) return;
  const auto block = config.get_uints(key);
  if (!block) return;
  if (block->size() != 2 || (*block)[0] == 0 || (*block)[1] == 0)
    throw config.invalid(key, "two positive integers");
  q.block_rows = (*block)[0];
  q.block_columns = (*block)[1];
}

std::string bits_and_groups(const Quantization& q) {
  const std::string groups = q.group_columns == 0 ? "" : fmt::format(", groups of {}", q.group_columns);
  return fmt::format("{} bit{}", q.bits, groups);
}

void read_bitsandbytes(Quantization& q, const ModelConfig& config) {
  const bool is_8bit = config.get_bool("load_in_8bit", config.get_bool("_load_in_8bit", false));
  q.method = is_8bit ? Method::bitsandbytes_8bit : Method::bitsandbytes_4bit;
  q.double_quantized = config.get_bool("bnb_4bit_use_double_quant", false);
  q.storage = dtype_from_torch_name(config.get_string("bnb_4bit_quant_storage", "uint8")).value_or(Dtype::u8);
  q.name = is_8bit
               ? "bitsandbytes, 8 bit"
               : fmt::format("bitsandbytes, 4 bit ({}{})", config.get_string("bnb_4bit_quant_type", "fp4"),
                             q.double_quantized ? ", double quantisation" : "");
}

/// The first group of `config_groups` says how weights are stored.
void read_compressed_tensors(Quantization& q, const ModelConfig& config) {
  q.method = Method::compressed_tensors;
  std::string format = config.get_string("format", "dense");
  q.name = "compressed-tensors, " + format;
  q.storage = Dtype::i8;
  const ModelConfig groups = config.nested("config_groups");
  const auto* members = std::get_if<ConfigValue::Object>(&groups.root().value);
  if (members == nullptr || members->empty()) return;
  q.is_mixed = members->size() > 1;
  const ModelConfig group = groups.nested(members->front().first);
  format = group.get_string("format", format);
  const ModelConfig weights = group.nested("weights");
  q.bits = read_bits(weights, {"num_bits"}, 8);
  q.group_columns = read_group_size(weights, "group_size", 0);
  read_block(q, weights, "block_structure");
  const ConfigValue* group_size = weights.find("group_size");
  const bool has_group_size = group_size != nullptr && !group_size->is_null();
  const std::string strategy = weights.get_string("strategy", !has_group_size        ? "tensor"
                                                              : q.group_columns == 0 ? "channel"
                                                                                     : "group");
  q.scales = strategy == "tensor"    ? Scales::tensor
             : strategy == "channel" ? Scales::channel
             : strategy == "block"   ? Scales::block
                                     : Scales::group;
  const bool is_float = weights.get_string("type", "int") == "float";
  if (is_float) q.storage = Dtype::f8_e4m3;
  q.is_packed = format.find("pack") != std::string::npos;
  if (is_float && q.is_packed) {
    q.packed = Dtype::u8;
    q.scale = q.scales == Scales::group && strategy == "group" ? Dtype::u8 : Dtype::f8_e4m3;
  }
  if (const std::string scale = weights.get_string("scale_dtype", ""); !scale.empty())
    q.scale = dtype_from_torch_name(scale);
  q.name = fmt::format("compressed-tensors, {}, {}", format, bits_and_groups(q));
}

void read_fp8(Quantization& q, const ModelConfig& config) {
  constexpr std::string_view kBlock = "weight_block_size";
  q.method = Method::fp8;
  read_block(q, config, kBlock);
  const ConfigValue* block = config.find(kBlock);
  q.scales = block != nullptr && block->is_null() ? Scales::tensor : Scales::block;
  q.name = q.scales == Scales::tensor ? "fp8, one scale a tensor"
                                      : fmt::format("fp8, blocks of {} x {}", q.block_rows, q.block_columns);
}

void read_packed(Quantization& q, const ModelConfig& config) {
  q.bits = read_bits(config, {"bits", "w_bit"}, 4);
  q.group_columns = read_group_size(config, "group_size", read_group_size(config, "q_group_size", 128));
}

}  // namespace

std::optional<Quantization> read_quantization(const ModelConfig& config) {
  const ConfigValue* found = config.find(kSection);
  if (found == nullptr || found->is_null()) return std::nullopt;
  const ModelConfig quantization = config.nested(kSection);
  // bitsandbytes' first releases wrote no method.
  std::string method = quantization.get_string("quant_method", "");
  if (method.empty() &&
      (quantization.find("load_in_8bit") != nullptr || quantization.find("load_in_4bit") != nullptr))
    method = "bitsandbytes";

  Quantization q;
  q.name = method.empty() ? "an unnamed method" : method;
  if (method == "bitsandbytes") {
    read_bitsandbytes(q, quantization);
  } else if (method == "gptq") {
    read_packed(q, quantization);
    q.method = Method::gptq;
    q.name = "GPTQ, " + bits_and_groups(q);
  } else if (method == "awq") {
    read_packed(q, quantization);
    q.method = Method::awq;
    q.is_gemv = quantization.get_string("version", "gemm") == "gemv";
    q.name = "AWQ, " + bits_and_groups(q);
  } else if (method == "compressed-tensors" || method == "compressed_tensors") {
    read_compressed_tensors(q, quantization);
  } else if (method == "fp8") {
    read_fp8(q, quantization);
  } else if (method == "mxfp4") {
    q.method = Method::mxfp4;
    q.name = "mxfp4";
  }
  return q;
}

}  // namespace hfload
