#include "core/model/architecture/decoder.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "core/base/error.h"

namespace hfload {
namespace {

void qk_norms(ModuleBuilder& b, const DecoderConfig& c) {
  const auto norm = [&](std::string_view name, uint64_t heads) {
    switch (c.qk_norm) {
      case QkNorm::none:
        return;
      case QkNorm::per_head:
        return decoder_norm(b, c, name, c.head_dim);
      case QkNorm::over_projection:
        return decoder_norm(b, c, name, product(heads, c.head_dim));
      case QkNorm::weight_per_head:
        b.module(name, c.class_name("LayerNorm"), [&] { b.parameter("weight", {heads, c.head_dim}); });
        return;
    }
  };
  norm("q_norm", c.num_heads);
  norm("k_norm", c.num_kv_heads);
}

}  // namespace

uint64_t DecoderConfig::window_of(uint64_t i) const {
  return layer_types.empty() || (i < layer_types.size() && layer_types[i] == "sliding_attention")
             ? sliding_window
             : 0;
}

uint64_t rotary_frequencies(const ModuleBuilder& b, const ModelConfig& config, uint64_t head_dim,
                            std::optional<double> partial_rotary_factor) {
  double factor = config.get_double("partial_rotary_factor", partial_rotary_factor.value_or(1.0));
  if (b.is_v5()) {
    ModelConfig rope = config.nested("rope_scaling");
    if (std::get<ConfigValue::Object>(rope.root().value).empty()) rope = config.nested("rope_parameters");
    const std::string type = rope.get_string("rope_type", rope.get_string("type", "default"));
    factor =
        type == "default" && !partial_rotary_factor ? 1.0 : rope.get_double("partial_rotary_factor", factor);
  }
  if (!(factor >= 0.0 && factor <= 1.0)) {
    throw Error(ErrorCode::invalid_config,
                fmt::format("partial_rotary_factor is {}; it must be between 0 and 1", factor));
  }
  return (static_cast<uint64_t>(static_cast<double>(head_dim) * factor) + 1) / 2;
}

DecoderConfig read_decoder_config(const ModuleBuilder& b, const ModelConfig& config,
                                  const DecoderFamily& family) {
  DecoderConfig c{.family = family};
  c.vocab_size = config.get_uint("vocab_size", family.vocab_size);
  c.hidden_size = config.get_uint("hidden_size", family.hidden_size);
  if (!family.intermediate_size_by_layer)
    c.intermediate_size = config.get_uint("intermediate_size", family.intermediate_size);
  c.num_layers = config.get_count("num_hidden_layers", family.num_layers);
  c.num_heads = config.get_uint("num_attention_heads", family.num_heads);
  // An explicit null means multi-head attention; an absent key means the family's default.
  const bool null_heads = config.find("num_key_value_heads") != nullptr;
  c.num_kv_heads = config.get_uint(
      "num_key_value_heads", null_heads || family.num_kv_heads == 0 ? c.num_heads : family.num_kv_heads);
  const bool null_head_dim = config.find("head_dim") != nullptr;
  c.head_dim = config.get_uint("head_dim", null_head_dim ? 0 : family.head_dim);
  if (c.head_dim == 0 && c.num_heads != 0) c.head_dim = c.hidden_size / c.num_heads;
  c.rotary_frequencies = rotary_frequencies(b, config, c.head_dim, family.partial_rotary_factor);
  c.hidden_act = config.get_string("hidden_act", family.hidden_act);
  c.qk_norm = family.qk_norm;
  if (family.adjust != nullptr) family.adjust(c, config);
  // So that no family's declaration can multiply these to a number that wraps.
  product(std::max(c.num_heads, c.num_kv_heads), c.head_dim);
  return c;
}

void read_attention_bias(DecoderConfig& c, const ModelConfig& config) {
  c.qkv_bias = c.output_bias = config.get_bool("attention_bias", false);
}

void read_sliding_window(DecoderConfig& c, const ModelConfig& config, uint64_t fallback) {
  const bool is_set = config.find("sliding_window") != nullptr;
  c.sliding_window = config.get_uint("sliding_window", is_set ? 0 : fallback);
}

void read_windowed_tail(DecoderConfig& c, const ModelConfig& config) {
  if (!config.get_bool("use_sliding_window", false)) return;
  read_sliding_window(c, config, 4096);
  const uint64_t first = config.get_uint("max_window_layers", 28);
  read_layer_types(c, config, [&](uint64_t i) { return i >= first; });
}

void read_window_pattern(DecoderConfig& c, const ModelConfig& config) {
  // The pattern may be a word ("LLLG") where layer_types says the same.
  const bool has_types = config.get_strings("layer_types").has_value();
  const uint64_t pattern = has_types ? 0 : config.get_uint("sliding_window_pattern", 4);
  read_layer_types(c, config, [&](uint64_t i) { return pattern != 0 && (i + 1) % pattern != 0; });
}

void decoder_norm(ModuleBuilder& b, const DecoderConfig& c, std::string_view name, uint64_t features) {
  switch (c.family.norm) {
    case NormKind::rms:
      b.rms_norm(name, c.class_name("RMSNorm"), features);
      return;
    case NormKind::layer_norm:
      b.layer_norm(name, features);
      return;
    case NormKind::weight_only:
      b.rms_norm(name, c.class_name("LayerNorm"), features);
      return;
    case NormKind::without_parameters:
      b.module(name, c.class_name("LayerNorm"));
      return;
  }
}

void decoder_layer_norms(ModuleBuilder& b, const DecoderConfig& c) {
  for (const std::string_view name : c.family.layer_norms) decoder_norm(b, c, name, c.hidden_size);
}

void attention_projections(ModuleBuilder& b, const DecoderConfig& c) {
  b.linear("q_proj", c.hidden_size, product(c.num_heads, c.head_dim), c.qkv_bias);
  b.linear("k_proj", c.hidden_size, product(c.num_kv_heads, c.head_dim), c.qkv_bias);
  b.linear("v_proj", c.hidden_size, product(c.num_kv_heads, c.head_dim), c.qkv_bias);
  b.linear("o_proj", product(c.num_heads, c.head_dim), c.hidden_size, c.output_bias);
}

void fill_attention(ModuleBuilder& b, const DecoderConfig& c, uint64_t i) {
  attention_projections(b, c);
  qk_norms(b, c);
  b.attention_cache(c.num_kv_heads, c.head_dim, c.window_of(i));
}

void decoder_attention(ModuleBuilder& b, const DecoderConfig& c, uint64_t i) {
  b.module("self_attn", c.class_name("Attention"), [&] { fill_attention(b, c, i); });
}

void gated_mlp(ModuleBuilder& b, std::string_view name, std::string_view class_name, uint64_t hidden_size,
               uint64_t intermediate_size, bool bias, std::string_view hidden_act) {
  b.module(name, class_name, [&] {
    b.linear("gate_proj", hidden_size, intermediate_size, bias);
    b.linear("up_proj", hidden_size, intermediate_size, bias);
    b.linear("down_proj", intermediate_size, hidden_size, bias);
    b.activation("act_fn", hidden_act);
  });
}

void decoder_mlp(ModuleBuilder& b, const DecoderConfig& c) {
  gated_mlp(b, "mlp", c.class_name("MLP"), c.hidden_size, c.intermediate_size, c.mlp_bias, c.hidden_act);
}

void fused_gated_mlp(ModuleBuilder& b, const DecoderConfig& c) {
  b.module("mlp", c.class_name("MLP"), [&] {
    b.linear("gate_up_proj", c.hidden_size, 2 * c.intermediate_size, false);
    b.linear("down_proj", c.intermediate_size, c.hidden_size, false);
    b.activation("activation_fn", c.hidden_act);
  });
}

void rotary_embedding_by_layer_type(ModuleBuilder& b, const DecoderConfig& c) {
  b.module("rotary_emb", c.class_name("RotaryEmbedding"), [&] {
    for (const std::string& type : std::set<std::string>(c.layer_types.begin(), c.layer_types.end())) {
      b.buffer(type + "_inv_freq", {c.rotary_frequencies}, Dtype::f32, false);
      b.buffer(type + "_original_inv_freq", {c.rotary_frequencies}, Dtype::f32, false);
    }
  });
}

void decoder_layer(ModuleBuilder& b, const DecoderConfig& c, uint64_t i) {
  decoder_attention(b, c, i);
  decoder_mlp(b, c);
  decoder_layer_norms(b, c);
}

void declare_decoder(ModuleBuilder& b, const ModelConfig& config, const DecoderFamily& family) {
  const DecoderConfig c = read_decoder_config(b, config, family);
  decoder_model(b, c, [&](uint64_t i) { decoder_layer(b, c, i); });
}

}  // namespace hfload
