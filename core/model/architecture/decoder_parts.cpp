#include "core/model/architecture/decoder_parts.h"

#include <fmt/format.h>

#include "core/base/error.h"

namespace hfload {

DecoderSizes read_decoder_sizes(const ModelConfig& config, const DecoderDefaults& defaults) {
  DecoderSizes s{};
  s.vocab_size = config.get_uint("vocab_size", defaults.vocab_size);
  s.hidden_size = config.get_uint("hidden_size", defaults.hidden_size);
  s.intermediate_size = config.get_uint("intermediate_size", defaults.intermediate_size);
  s.num_layers = config.get_count("num_hidden_layers", defaults.num_layers);
  s.num_heads = config.get_uint("num_attention_heads", defaults.num_heads);
  if (s.num_heads == 0) throw Error(ErrorCode::invalid_config, "num_attention_heads is 0");
  // An explicit null means multi-head attention; an absent key means the family's default.
  const bool is_given = config.find("num_key_value_heads") != nullptr;
  s.num_kv_heads = config.get_uint(
      "num_key_value_heads", is_given || defaults.num_kv_heads == 0 ? s.num_heads : defaults.num_kv_heads);
  s.head_dim = config.get_uint("head_dim", defaults.head_dim);
  if (s.head_dim == 0) s.head_dim = s.hidden_size / s.num_heads;
  s.qkv_bias = s.output_bias = config.get_bool("attention_bias", false);
  s.hidden_act = config.get_string("hidden_act", "silu");
  return s;
}

std::vector<bool> sliding_layers(const ModelConfig& config, uint64_t num_layers, uint64_t pattern) {
  std::vector<bool> sliding(num_layers);
  const auto types = config.get_strings("layer_types");
  for (uint64_t i = 0; i < num_layers; ++i) {
    sliding[i] = types ? i < types->size() && (*types)[i] == "sliding_attention"
                       : pattern != 0 && (i + 1) % pattern != 0;
  }
  return sliding;
}

void attention_projections(ModuleBuilder& b, const DecoderSizes& s, uint64_t window_tokens) {
  b.linear("q_proj", s.hidden_size, s.num_heads * s.head_dim, s.qkv_bias);
  b.linear("k_proj", s.hidden_size, s.num_kv_heads * s.head_dim, s.qkv_bias);
  b.linear("v_proj", s.hidden_size, s.num_kv_heads * s.head_dim, s.qkv_bias);
  b.linear("o_proj", s.num_heads * s.head_dim, s.hidden_size, s.output_bias);
  b.attention_cache(s.num_kv_heads, s.head_dim, window_tokens);
}

void gated_mlp(ModuleBuilder& b, std::string_view name, std::string_view class_name, uint64_t hidden_size,
               uint64_t intermediate_size, std::string_view hidden_act, bool bias) {
  b.module(name, class_name, [&] {
    b.linear("gate_proj", hidden_size, intermediate_size, bias);
    b.linear("up_proj", hidden_size, intermediate_size, bias);
    b.linear("down_proj", intermediate_size, hidden_size, bias);
    b.activation("act_fn", hidden_act);
  });
}

void stacked_experts(ModuleBuilder& b, std::string_view class_name, uint64_t num_experts,
                     uint64_t hidden_size, uint64_t intermediate_size, std::string_view hidden_act) {
  b.module("experts", class_name, [&] {
    b.parameter("gate_up_proj", {num_experts, 2 * intermediate_size, hidden_size});
    b.parameter("down_proj", {num_experts, hidden_size, intermediate_size});
    b.activation("act_fn", hidden_act);
  });
}

void router(ModuleBuilder& b, std::string_view name, std::string_view class_name, uint64_t num_experts,
            uint64_t hidden_size) {
  b.module(name, class_name, [&] { b.parameter("weight", {num_experts, hidden_size}); });
}

}  // namespace hfload
