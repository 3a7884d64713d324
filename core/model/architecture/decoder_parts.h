#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <vector>

#include "core/format/model_config.h"
#include "core/model/module_builder.h"

/// Parts that decoders of many families have alike; a family's layers put them together.
namespace hfload {

/// What a config that says nothing gives.
struct DecoderDefaults {
  uint64_t vocab_size, hidden_size, intermediate_size, num_layers, num_heads;
  uint64_t num_kv_heads = 0;  ///< 0: as many as attention heads
  uint64_t head_dim = 0;      ///< 0: hidden_size / attention heads
};

struct DecoderSizes {
  uint64_t vocab_size, hidden_size, intermediate_size, num_layers, num_heads, num_kv_heads, head_dim;
  bool qkv_bias, output_bias;  ///< both `attention_bias`
  std::string hidden_act;
};

/// Throws Error(invalid_config) when there are no attention heads.
DecoderSizes read_decoder_sizes(const ModelConfig& config, const DecoderDefaults& defaults);

/// Of each layer, whether its attention is "sliding_attention" by `layer_types`, or, where the config has no
/// such key, whether layer i is in no multiple of `pattern`: with 2, every second layer sees all tokens.
std::vector<bool> sliding_layers(const ModelConfig& config, uint64_t num_layers, uint64_t pattern);

/// Grouped-query attention: q_proj, k_proj, v_proj and o_proj of the open module, and its cache.
void attention_projections(ModuleBuilder& b, const DecoderSizes& s, uint64_t window_tokens);

/// gate_proj, up_proj (hidden_size to intermediate_size), down_proj and act_fn.
void gated_mlp(ModuleBuilder& b, std::string_view name, std::string_view class_name, uint64_t hidden_size,
               uint64_t intermediate_size, std::string_view hidden_act, bool bias = false);

/// All experts of a layer in two parameters, as transformers 5 has them: gate_up_proj (experts,
/// 2 * intermediate_size, hidden_size) and down_proj (experts, hidden_size, intermediate_size); and act_fn.
void stacked_experts(ModuleBuilder& b, std::string_view class_name, uint64_t num_experts,
                     uint64_t hidden_size, uint64_t intermediate_size, std::string_view hidden_act);

/// The scores of the experts: weight (experts, hidden_size).
void router(ModuleBuilder& b, std::string_view name, std::string_view class_name, uint64_t num_experts,
            uint64_t hidden_size);

/// embed_tokens, layers, norm and rotary_emb, with the class names of a family: `layer(i)` declares the
/// children of layer i.
template <std::invocable<uint64_t> Layer>
void decoder_stack(ModuleBuilder& b, std::string_view prefix, const DecoderSizes& s, uint64_t rotary_dim,
                   Layer&& layer) {
  const std::string family(prefix);
  b.embedding("embed_tokens", s.vocab_size, s.hidden_size);
  b.list("layers", s.num_layers,
         [&](uint64_t i) { b.module(index_name(i), family + "DecoderLayer", [&] { layer(i); }); });
  b.rms_norm("norm", family + "RMSNorm", s.hidden_size);
  b.rotary_embedding("rotary_emb", family + "RotaryEmbedding", (rotary_dim + 1) / 2);
}

/// Names of a family's classes: "Mixtral" and "Attention".
inline std::string class_of(std::string_view prefix, std::string_view part) {
  return std::string(prefix).append(part);
}

}  // namespace hfload
