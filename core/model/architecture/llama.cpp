#include <string>
#include <string_view>
#include <vector>

#include "core/model/architecture/heads.h"
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
  uint64_t sliding_window;               ///< of the layers that have one; 0: none has
  std::vector<std::string> layer_types;  ///< "full_attention" or "sliding_attention"; empty: all alike
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
  if (&family == &kMistralFamily) {
    const bool is_set = config.find("sliding_window") != nullptr;
    c.sliding_window = config.get_uint("sliding_window", is_set ? 0 : 4096);
  }
  if (&family == &kQwen2Family && config.get_bool("use_sliding_window", false)) {
    c.sliding_window = config.get_uint("sliding_window", 4096);
    c.layer_types = config.get_strings("layer_types").value_or(std::vector<std::string>{});
    for (uint64_t i = c.layer_types.size(); i < c.num_layers; ++i)
      c.layer_types.emplace_back(i < config.get_uint("max_window_layers", 28) ? "full_attention"
                                                                              : "sliding_attention");
  }
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

/// Tokens that layer i attends to; 0 for all.
uint64_t window_of(const DecoderConfig& c, uint64_t i) {
  return i < c.layer_types.size() && c.layer_types[i] == "full_attention" ? 0 : c.sliding_window;
}

void decoder_layer(ModuleBuilder& b, const DecoderConfig& c, const Names& n, uint64_t i) {
  b.module(index_name(i), n.layer, [&] {
    b.module("self_attn", n.attention, [&] {
      b.linear("q_proj", c.hidden_size, c.num_heads * c.head_dim, c.qkv_bias);
      b.linear("k_proj", c.hidden_size, c.num_kv_heads * c.head_dim, c.qkv_bias);
      b.linear("v_proj", c.hidden_size, c.num_kv_heads * c.head_dim, c.qkv_bias);
      b.linear("o_proj", c.num_heads * c.head_dim, c.hidden_size, c.output_bias);
      b.attention_cache(c.num_kv_heads, c.head_dim, window_of(c, i));
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
  b.rotary_embedding("rotary_emb", n.rotary, c.rotary_dim);
}

template <const Family& kFamily>
void declare(ModuleBuilder& b, const ModelConfig& config) {
  decoder(b, read_config(config, kFamily), Names(kFamily.prefix));
}

constexpr BaseModel kLlamaModel{"LlamaModel", declare<kLlamaFamily>, 32000, 4096};
constexpr BaseModel kMistralModel{"MistralModel", declare<kMistralFamily>, 32000, 4096};
constexpr BaseModel kQwen2Model{"Qwen2Model", declare<kQwen2Family>, 151936, 4096};

constexpr ModelClass kLlamaClasses[] = {
    {"LlamaForCausalLM", "model", causal_lm<kLlamaModel>, {"LlamaDecoderLayer"}},
    {"LlamaModel", "model", base_model<kLlamaModel>, {"LlamaDecoderLayer"}},
    {"LlamaForSequenceClassification", "model", sequence_classification<kLlamaModel>, {"LlamaDecoderLayer"}},
    {"LlamaForTokenClassification", "model", token_classification<kLlamaModel>, {"LlamaDecoderLayer"}},
    {.name = "LlamaForQuestionAnswering",
     .base_model_prefix = "transformer",
     .declare = transformer_question_answering<kLlamaModel>,
     .no_split_modules = {"LlamaDecoderLayer"}},
};
constexpr ModelClass kMistralClasses[] = {
    {"MistralForCausalLM", "model", causal_lm<kMistralModel>, {"MistralDecoderLayer"}},
    {"MistralModel", "model", base_model<kMistralModel>, {"MistralDecoderLayer"}},
    {"MistralForSequenceClassification",
     "model",
     sequence_classification<kMistralModel>,
     {"MistralDecoderLayer"}},
    {"MistralForTokenClassification", "model", token_classification<kMistralModel>, {"MistralDecoderLayer"}},
    {"MistralForQuestionAnswering", "model", question_answering<kMistralModel>, {"MistralDecoderLayer"}},
};
constexpr ModelClass kQwen2Classes[] = {
    {"Qwen2ForCausalLM", "model", causal_lm<kQwen2Model>, {"Qwen2DecoderLayer"}},
    {"Qwen2Model", "model", base_model<kQwen2Model>, {"Qwen2DecoderLayer"}},
    {"Qwen2ForSequenceClassification", "model", sequence_classification<kQwen2Model>, {"Qwen2DecoderLayer"}},
    {"Qwen2ForTokenClassification", "model", token_classification<kQwen2Model>, {"Qwen2DecoderLayer"}},
    {.name = "Qwen2ForQuestionAnswering",
     .base_model_prefix = "transformer",
     .declare = transformer_question_answering<kQwen2Model>,
     .no_split_modules = {"Qwen2DecoderLayer"}},
};

}  // namespace

constexpr Architecture kLlama{"llama", kLlamaClasses};
constexpr Architecture kMistral{"mistral", kMistralClasses};
constexpr Architecture kQwen2{"qwen2", kQwen2Classes};

}  // namespace hfload
