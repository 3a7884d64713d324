#include <string>
#include <string_view>

#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// Falcon, as transformers 4.57 models/falcon/modeling_falcon.py builds it.
namespace hfload {
namespace {

struct FalconConfig {
  uint64_t vocab_size, hidden_size, ffn_hidden_size, num_layers, num_heads, num_kv_heads, head_dim;
  bool new_decoder_architecture, multi_query, parallel_attention, two_norms, bias;
  std::string activation;
};

FalconConfig read_config(const ModelConfig& config, bool is_v5) {
  FalconConfig c{};
  c.vocab_size = config.get_uint("vocab_size", 65024);
  c.hidden_size = config.get_uint({"n_embed", "hidden_size"}, 4544);
  // transformers 4 forms the default before n_embed takes effect.
  c.ffn_hidden_size =
      config.get_uint("ffn_hidden_size", 4 * (is_v5 ? c.hidden_size : config.get_uint("hidden_size", 4544)));
  c.num_layers = config.get_count("num_hidden_layers", 32);
  c.num_heads = config.get_uint("num_attention_heads", 71);
  c.num_kv_heads = config.get_uint("num_kv_heads", c.num_heads);
  c.head_dim = heads::head_dim(c.hidden_size, c.num_heads);
  c.new_decoder_architecture = config.get_bool("new_decoder_architecture", false);
  c.multi_query = config.get_bool("multi_query", true);
  c.parallel_attention = config.get_bool("parallel_attn", true);
  c.two_norms = config.get_uint("num_ln_in_parallel_attn", c.new_decoder_architecture ? 2 : 1) == 2;
  c.bias = config.get_bool("bias", false);
  c.activation = config.get_string("activation", "gelu");
  return c;
}

uint64_t qkv_size(const FalconConfig& c) {
  if (c.new_decoder_architecture) return product(2 * c.num_kv_heads + c.num_heads, c.head_dim);
  return c.multi_query ? c.hidden_size + 2 * c.head_dim : 3 * c.hidden_size;
}

void linear(ModuleBuilder& b, const FalconConfig& c, std::string_view name, uint64_t in_features,
            uint64_t out_features) {
  b.module(name, "FalconLinear", [&] {
    b.parameter("weight", {out_features, in_features});
    if (c.bias) b.parameter("bias", {out_features});
  });
}

void decoder_layer(ModuleBuilder& b, const FalconConfig& c, uint64_t i) {
  b.module(index_name(i), "FalconDecoderLayer", [&] {
    b.module("self_attention", "FalconAttention", [&] {
      linear(b, c, "query_key_value", c.hidden_size, qkv_size(c));
      linear(b, c, "dense", c.hidden_size, c.hidden_size);
      b.dropout("attention_dropout");
      // The new architecture repeats its keys and values for all query heads before it caches them.
      b.attention_cache(c.multi_query && !c.new_decoder_architecture ? 1 : c.num_heads, c.head_dim);
    });
    b.module("mlp", "FalconMLP", [&] {
      linear(b, c, "dense_h_to_4h", c.hidden_size, c.ffn_hidden_size);
      b.activation("act", c.activation);
      linear(b, c, "dense_4h_to_h", c.ffn_hidden_size, c.hidden_size);
    });
    if (c.parallel_attention && c.two_norms) {
      b.layer_norm("ln_attn", c.hidden_size);
      b.layer_norm("ln_mlp", c.hidden_size);
      return;
    }
    if (!c.parallel_attention) b.layer_norm("post_attention_layernorm", c.hidden_size);
    b.layer_norm("input_layernorm", c.hidden_size);
  });
}

void declare(ModuleBuilder& b, const ModelConfig& config) {
  const FalconConfig c = read_config(config, b.is_v5());
  b.embedding("word_embeddings", c.vocab_size, c.hidden_size);
  b.list("h", c.num_layers, [&](uint64_t i) { decoder_layer(b, c, i); });
  b.layer_norm("ln_f", c.hidden_size);
  b.rotary_embedding("rotary_emb", "FalconRotaryEmbedding", (c.head_dim + 1) / 2);
}

constexpr BaseModel kModel{.class_name = "FalconModel",
                           .declare = declare,
                           .vocab_size = 65024,
                           .hidden_size = 4544,
                           .tie_word_embeddings = true,
                           .attribute = "transformer",
                           .embedding = "word_embeddings",
                           .hidden_size_key = "n_embed",
                           .token_classifier = "classifier"};

constexpr ModelClass kClasses[] = {
    {"FalconForCausalLM", "transformer", causal_lm<kModel>, {"FalconDecoderLayer"}},
    {"FalconModel", "transformer", base_model<kModel>, {"FalconDecoderLayer"}},
    {"FalconForSequenceClassification",
     "transformer",
     sequence_classification<kModel>,
     {"FalconDecoderLayer"}},
    {"FalconForTokenClassification", "transformer", token_classification<kModel>, {"FalconDecoderLayer"}},
    {"FalconForQuestionAnswering", "transformer", question_answering<kModel>, {"FalconDecoderLayer"}},
};

}  // namespace

constexpr Architecture kFalcon{"falcon", kClasses};

}  // namespace hfload
