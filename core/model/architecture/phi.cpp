#include "core/model/architecture/decoder.h"
#include "core/model/architecture/registry.h"

/// Phi (1, 1.5 and 2) and Phi-3, as transformers 4.57 builds them.
namespace hfload {
namespace {

constexpr DecoderFamily kPhiFamily{.prefix = "Phi",
                                   .vocab_size = 51200,
                                   .hidden_size = 2048,
                                   .intermediate_size = 8192,
                                   .num_layers = 24,
                                   .num_heads = 32,
                                   .hidden_act = "gelu_new",
                                   .lm_head_bias = true,
                                   .heads = DecoderHeads::token,
                                   .norm = NormKind::layer_norm,
                                   .layer_norms = {"input_layernorm"},
                                   .partial_rotary_factor = 0.5};

void declare_phi(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kPhiFamily);
  const bool qk_layernorm = config.get_bool("qk_layernorm", false) && c.num_heads != 0;
  b.embedding("embed_tokens", c.vocab_size, c.hidden_size);
  decoder_layers(b, c, [&](uint64_t i) {
    b.module("self_attn", "PhiAttention", [&] {
      b.linear("q_proj", c.hidden_size, c.num_heads * c.head_dim, true);
      b.linear("k_proj", c.hidden_size, c.num_kv_heads * c.head_dim, true);
      b.linear("v_proj", c.hidden_size, c.num_kv_heads * c.head_dim, true);
      b.linear("dense", c.num_heads * c.head_dim, c.hidden_size, true);
      if (qk_layernorm) {
        b.layer_norm("q_layernorm", c.hidden_size / c.num_heads);
        b.layer_norm("k_layernorm", c.hidden_size / c.num_heads);
      }
      b.attention_cache(c.num_kv_heads, c.head_dim, c.window_of(i));
    });
    b.module("mlp", "PhiMLP", [&] {
      b.activation("activation_fn", c.hidden_act);
      b.linear("fc1", c.hidden_size, c.intermediate_size, true);
      b.linear("fc2", c.intermediate_size, c.hidden_size, true);
    });
    decoder_layer_norms(b, c);
    b.dropout("resid_dropout");
  });
  b.rotary_embedding("rotary_emb", "PhiRotaryEmbedding", c.rotary_frequencies);
  b.dropout("embed_dropout");
  decoder_norm(b, c, "final_layernorm", c.hidden_size);
}

constexpr DecoderFamily kPhi3Family{
    .prefix = "Phi3",
    .vocab_size = 32064,
    .hidden_size = 3072,
    .intermediate_size = 8192,
    .num_layers = 32,
    .num_heads = 32,
    .heads = DecoderHeads::token,
    .partial_rotary_factor = 1.0,
    .adjust = [](DecoderConfig& c, const ModelConfig& config) { read_sliding_window(c, config, 0); }};

void declare_phi3(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kPhi3Family);
  decoder_model(b, c, [&](uint64_t i) {
    b.module("self_attn", "Phi3Attention", [&] {
      b.linear("o_proj", c.num_heads * c.head_dim, c.hidden_size, false);
      b.linear("qkv_proj", c.hidden_size, (c.num_heads + 2 * c.num_kv_heads) * c.head_dim, false);
      b.attention_cache(c.num_kv_heads, c.head_dim, c.window_of(i));
    });
    fused_gated_mlp(b, c);
    decoder_layer_norms(b, c);
    b.dropout("resid_attn_dropout");
    b.dropout("resid_mlp_dropout");
  });
}

}  // namespace

constexpr Architecture kPhi{"phi", DecoderClasses<kPhiFamily, declare_phi>::kClasses};
constexpr Architecture kPhi3{"phi3", DecoderClasses<kPhi3Family, declare_phi3>::kClasses};

}  // namespace hfload
