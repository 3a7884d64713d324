#include <fmt/core.h>

#include "core/base/error.h"
#include "core/model/architecture/decoder.h"
#include "core/model/architecture/registry.h"

/// StableLM, as transformers 4.57 models/stablelm/modeling_stablelm.py builds it.
namespace hfload {
namespace {

void norm_per_head(ModuleBuilder& b, const DecoderConfig& c, std::string_view name, uint64_t heads) {
  b.module(name, "StableLmLayerNormPerHead", [&] {
    b.list("norms", heads, [&](uint64_t i) { b.rms_norm(index_name(i), "LayerNorm", c.head_dim); });
  });
}

constexpr DecoderFamily kFamily{.prefix = "StableLm",
                                .vocab_size = 50304,
                                .hidden_size = 2560,
                                .intermediate_size = 6912,
                                .num_layers = 32,
                                .num_heads = 32,
                                .num_kv_heads = 32,
                                .heads = DecoderHeads::token,
                                .norm = NormKind::layer_norm,
                                .partial_rotary_factor = 0.25,
                                .adjust = [](DecoderConfig& c, const ModelConfig& config) {
                                  if (c.num_heads == 0 || c.hidden_size % c.num_heads != 0) {
                                    throw Error(
                                        ErrorCode::invalid_config,
                                        fmt::format("hidden_size {} is no multiple of num_attention_heads {}",
                                                    c.hidden_size, c.num_heads));
                                  }
                                  c.head_dim = c.hidden_size / c.num_heads;
                                  c.qkv_bias = config.get_bool("use_qkv_bias", false);
                                }};

void declare(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kFamily);
  const bool qk_layernorm = config.get_bool("qk_layernorm", false);
  const bool use_parallel_residual = config.get_bool("use_parallel_residual", false);
  decoder_model(b, c, [&](uint64_t i) {
    b.module("self_attn", b.is_v5() ? "StableLmAttention" : "StableLmSdpaAttention", [&] {
      attention_projections(b, c);
      if (qk_layernorm) {
        norm_per_head(b, c, "q_layernorm", c.num_heads);
        norm_per_head(b, c, "k_layernorm", c.num_kv_heads);
      }
      if (!b.is_v5()) {
        b.dropout("attention_dropout");
        b.rotary_embedding("rotary_emb", "StableLmRotaryEmbedding", c.rotary_frequencies);
      }
      b.attention_cache(c.num_kv_heads, c.head_dim, c.window_of(i));
    });
    decoder_mlp(b, c);
    decoder_norm(b, c, "input_layernorm", c.hidden_size);
    if (!use_parallel_residual) decoder_norm(b, c, "post_attention_layernorm", c.hidden_size);
    b.dropout("dropout");
  });
}

}  // namespace

constexpr Architecture kStableLm{"stablelm", DecoderClasses<kFamily, declare>::kClasses};

}  // namespace hfload
