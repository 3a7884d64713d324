#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// GPT-NeoX (and Pythia), as transformers 4.57 models/gpt_neox/modeling_gpt_neox.py builds it.
namespace hfload {
namespace {

struct NeoxConfig {
  uint64_t vocab_size, hidden_size, intermediate_size, num_layers, num_heads, head_dim, rotary_dim;
  bool attention_bias;
  std::string hidden_act;
};

NeoxConfig read_config(const ModelConfig& config) {
  NeoxConfig c{};
  c.vocab_size = config.get_uint("vocab_size", 50432);
  c.hidden_size = config.get_uint("hidden_size", 6144);
  c.intermediate_size = config.get_uint("intermediate_size", 24576);
  c.num_layers = config.get_count("num_hidden_layers", 44);
  c.num_heads = config.get_uint("num_attention_heads", 64);
  c.head_dim = heads::head_dim(c.hidden_size, c.num_heads);
  // transformers 5 saves the fraction among the rope_parameters.
  const double fraction = config.nested("rope_parameters")
                              .get_double("partial_rotary_factor", config.get_double("rotary_pct", 0.25));
  c.rotary_dim = static_cast<uint64_t>(static_cast<double>(c.head_dim) * std::clamp(fraction, 0.0, 1.0));
  c.attention_bias = config.get_bool("attention_bias", true);
  c.hidden_act = config.get_string("hidden_act", "gelu");
  return c;
}

void layer(ModuleBuilder& b, const NeoxConfig& c, uint64_t i) {
  b.module(index_name(i), "GPTNeoXLayer", [&] {
    b.layer_norm("input_layernorm", c.hidden_size);
    b.layer_norm("post_attention_layernorm", c.hidden_size);
    b.dropout("post_attention_dropout");
    b.dropout("post_mlp_dropout");
    b.module("attention", "GPTNeoXAttention", [&] {
      b.linear("query_key_value", c.hidden_size, 3 * c.hidden_size, c.attention_bias);
      b.linear("dense", c.hidden_size, c.hidden_size, c.attention_bias);
      b.attention_cache(c.num_heads, c.head_dim);
    });
    b.module("mlp", "GPTNeoXMLP", [&] {
      b.linear("dense_h_to_4h", c.hidden_size, c.intermediate_size, true);
      b.linear("dense_4h_to_h", c.intermediate_size, c.hidden_size, true);
      b.activation("act", c.hidden_act);
    });
  });
}

void declare(ModuleBuilder& b, const ModelConfig& config) {
  const NeoxConfig c = read_config(config);
  b.embedding("embed_in", c.vocab_size, c.hidden_size);
  b.dropout("emb_dropout");
  b.list("layers", c.num_layers, [&](uint64_t i) { layer(b, c, i); });
  b.layer_norm("final_layer_norm", c.hidden_size);
  b.rotary_embedding("rotary_emb", "GPTNeoXRotaryEmbedding", (c.rotary_dim + 1) / 2);
}

constexpr BaseModel kModel{.class_name = "GPTNeoXModel",
                           .declare = declare,
                           .vocab_size = 50432,
                           .hidden_size = 6144,
                           .attribute = "gpt_neox",
                           .embedding = "embed_in",
                           .token_classifier = "classifier"};

void language_model(ModuleBuilder& b, const ModelConfig& config) {
  const NeoxConfig c = read_config(config);
  heads::declare_base(b, config, kModel);
  const std::string_view head = b.is_v5() ? "lm_head" : "embed_out";
  b.linear(head, c.hidden_size, c.vocab_size, false);
  if (config.get_bool("tie_word_embeddings", false))
    b.tie(fmt::format("{}.weight", head), "gpt_neox.embed_in.weight");
}

constexpr ModelClass model_class(std::string_view name,
                                 void (*declare_class)(ModuleBuilder&, const ModelConfig&)) {
  return {.name = name,
          .base_model_prefix = "gpt_neox",
          .declare = declare_class,
          .no_split_modules = {"GPTNeoXLayer"},
          .ignore_unexpected = {"attention.bias", "attention.masked_bias"}};
}

constexpr ModelClass kClasses[] = {
    model_class("GPTNeoXForCausalLM", language_model),
    model_class("GPTNeoXModel", base_model<kModel>),
    model_class("GPTNeoXForSequenceClassification", sequence_classification<kModel>),
    model_class("GPTNeoXForTokenClassification", token_classification<kModel>),
    model_class("GPTNeoXForQuestionAnswering", question_answering<kModel>),
};

}  // namespace

constexpr Architecture kGptNeox{"gpt_neox", kClasses};

}  // namespace hfload
