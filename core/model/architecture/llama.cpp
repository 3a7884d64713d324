#include <string_view>

#include "core/model/architecture/registry.h"

/// Llama, Mistral and Qwen2, as transformers 4.57 builds them: one skeleton, other class names, biases and
/// defaults.
namespace hfload {
namespace {

/// What the families differ in.
struct Family {
  std::string_view prefix;  ///< of class names: "Llama"
  uint64_t vocab_size, intermediate_size,
      num_key_value_heads;  ///< defaults; 0 heads: as many as attention heads
};

constexpr Family kLlamaFamily{"Llama", 32000, 11008, 0};
constexpr Family kMistralFamily{"Mistral", 32000, 14336, 8};
constexpr Family kQwen2Family{"Qwen2", 151936, 22016, 32};

struct DecoderConfig {
  uint64_t vocab_size, hidden_size, intermediate_size, num_layers, num_heads, num_kv_heads, head_dim,
      rotary_dim;
  bool qkv_bias, output_bias, mlp_bias;
  std::string hidden_act;
};

DecoderConfig read_config(const ModelConfig& config, const Family& family) {
  DecoderConfig c{};
  c.vocab_size = config.get_uint("vocab_size", family.vocab_size);
  c.hidden_size = config.get_uint("hidden_size", 4096);
  c.intermediate_size = config.get_uint("intermediate_size", family.intermediate_size);
  c.num_layers = config.get_count("num_hidden_layers", 32);
  c.num_heads = config.get_uint("num_attention_heads", 32);
  // An explicit null means multi-head attention; an absent key means the family's default.
  const bool explicit_heads = config.find("num_key_value_heads") != nullptr;
  c.num_kv_heads = config.get_uint("num_key_value_heads", explicit_heads || family.num_key_value_heads == 0
                                                              ? c.num_heads
                                                              : family.num_key_value_heads);
  c.head_dim = config.get_uint("head_dim", 0);
  if (c.head_dim == 0) c.head_dim = c.num_heads == 0 ? 0 : c.hidden_size / c.num_heads;
  const auto rotary = static_cast<uint64_t>(static_cast<double>(c.head_dim) *
                                            config.get_double("partial_rotary_factor", 1.0));
  c.rotary_dim = (rotary + 1) / 2;
  const bool is_llama = &family == &kLlamaFamily;
  const bool attention_bias = is_llama && config.get_bool("attention_bias", false);
  c.qkv_bias = attention_bias || &family == &kQwen2Family;
  c.output_bias = attention_bias;
  c.mlp_bias = is_llama && config.get_bool("mlp_bias", false);
  c.hidden_act = config.get_string("hidden_act", "silu");
  return c;
}

/// The class names of one family.
struct Names {
  std::string layer, attention, mlp, norm, rotary, model;
  explicit Names(std::string_view prefix) {
    const std::string p(prefix);
    layer = p + "DecoderLayer";
    attention = p + "Attention";
    mlp = p + "MLP";
    norm = p + "RMSNorm";
    rotary = p + "RotaryEmbedding";
    model = p + "Model";
  }
};

void decoder_layer(ModuleBuilder& b, const DecoderConfig& c, const Names& n, uint64_t i) {
  b.module(index_name(i), n.layer, [&] {
    b.module("self_attn", n.attention, [&] {
      b.linear("q_proj", c.hidden_size, c.num_heads * c.head_dim, c.qkv_bias);
      b.linear("k_proj", c.hidden_size, c.num_kv_heads * c.head_dim, c.qkv_bias);
      b.linear("v_proj", c.hidden_size, c.num_kv_heads * c.head_dim, c.qkv_bias);
      b.linear("o_proj", c.num_heads * c.head_dim, c.hidden_size, c.output_bias);
    });
    b.module("mlp", n.mlp, [&] {
      b.linear("gate_proj", c.hidden_size, c.intermediate_size, c.mlp_bias);
      b.linear("up_proj", c.hidden_size, c.intermediate_size, c.mlp_bias);
      b.linear("down_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
      b.activation("act_fn", c.hidden_act);
    });
    b.rms_norm("input_layernorm", n.norm, c.hidden_size);
    b.rms_norm("post_attention_layernorm", n.norm, c.hidden_size);
  });
}

void decoder(ModuleBuilder& b, const DecoderConfig& c, const Names& n) {
  b.embedding("embed_tokens", c.vocab_size, c.hidden_size);
  b.list("layers", c.num_layers, [&](uint64_t i) { decoder_layer(b, c, n, i); });
  b.rms_norm("norm", n.norm, c.hidden_size);
  b.module("rotary_emb", n.rotary, [&] { b.buffer("inv_freq", {c.rotary_dim}, Dtype::f32, false); });
}

template <const Family& kFamily>
void base_model(ModuleBuilder& b, const ModelConfig& config) {
  decoder(b, read_config(config, kFamily), Names(kFamily.prefix));
}

template <const Family& kFamily>
void causal_lm(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_config(config, kFamily);
  const Names n(kFamily.prefix);
  b.module("model", n.model, [&] { decoder(b, c, n); });
  b.linear("lm_head", c.hidden_size, c.vocab_size, false);
  if (config.get_bool("tie_word_embeddings", false)) b.tie("lm_head.weight", "model.embed_tokens.weight");
}

constexpr ModelClass kLlamaClasses[] = {
    {"LlamaForCausalLM", "model", causal_lm<kLlamaFamily>, {"LlamaDecoderLayer"}},
    {"LlamaModel", "model", base_model<kLlamaFamily>, {"LlamaDecoderLayer"}},
};
constexpr ModelClass kMistralClasses[] = {
    {"MistralForCausalLM", "model", causal_lm<kMistralFamily>, {"MistralDecoderLayer"}},
    {"MistralModel", "model", base_model<kMistralFamily>, {"MistralDecoderLayer"}},
};
constexpr ModelClass kQwen2Classes[] = {
    {"Qwen2ForCausalLM", "model", causal_lm<kQwen2Family>, {"Qwen2DecoderLayer"}},
    {"Qwen2Model", "model", base_model<kQwen2Family>, {"Qwen2DecoderLayer"}},
};

}  // namespace

constexpr Architecture kLlama{"llama", kLlamaClasses};
constexpr Architecture kMistral{"mistral", kMistralClasses};
constexpr Architecture kQwen2{"qwen2", kQwen2Classes};

}  // namespace hfload
