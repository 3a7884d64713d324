#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// BLOOM, as transformers 4.57 models/bloom/modeling_bloom.py builds it.
namespace hfload {
namespace {

void block(ModuleBuilder& b, uint64_t hidden_size, uint64_t num_heads, uint64_t i) {
  b.module(index_name(i), "BloomBlock", [&] {
    b.layer_norm("input_layernorm", hidden_size);
    b.module("self_attention", "BloomAttention", [&] {
      b.linear("query_key_value", hidden_size, 3 * hidden_size, true);
      b.linear("dense", hidden_size, hidden_size, true);
      b.dropout("attention_dropout");
      b.attention_cache(num_heads, hidden_size / num_heads);
    });
    b.layer_norm("post_attention_layernorm", hidden_size);
    b.module("mlp", "BloomMLP", [&] {
      b.linear("dense_h_to_4h", hidden_size, 4 * hidden_size, true);
      b.module("gelu_impl", "BloomGelu");
      b.linear("dense_4h_to_h", 4 * hidden_size, hidden_size, true);
    });
  });
}

void declare(ModuleBuilder& b, const ModelConfig& config) {
  const uint64_t hidden_size = config.get_uint({"n_embed", "hidden_size"}, 64);
  const uint64_t num_heads = config.get_uint({"n_head", "num_attention_heads"}, 8);
  heads::head_dim(hidden_size, num_heads);
  b.embedding("word_embeddings", config.get_uint("vocab_size", 250880), hidden_size);
  b.layer_norm("word_embeddings_layernorm", hidden_size);
  b.list("h", config.get_count({"n_layer", "num_hidden_layers"}, 2),
         [&](uint64_t i) { block(b, hidden_size, num_heads, i); });
  b.layer_norm("ln_f", hidden_size);
}

constexpr BaseModel kModel{.class_name = "BloomModel",
                           .declare = declare,
                           .vocab_size = 250880,
                           .hidden_size = 64,
                           .tie_word_embeddings = true,
                           .attribute = "transformer",
                           .embedding = "word_embeddings",
                           .hidden_size_key = "n_embed",
                           .token_classifier = "classifier"};

constexpr ModelClass kClasses[] = {
    {"BloomForCausalLM", "transformer", causal_lm<kModel>, {"BloomBlock"}},
    {"BloomModel", "transformer", base_model<kModel>, {"BloomBlock"}},
    {"BloomForSequenceClassification", "transformer", sequence_classification<kModel>, {"BloomBlock"}},
    {"BloomForTokenClassification", "transformer", token_classification<kModel>, {"BloomBlock"}},
    {"BloomForQuestionAnswering", "transformer", question_answering<kModel>, {"BloomBlock"}},
};

}  // namespace

constexpr Architecture kBloom{"bloom", kClasses};

}  // namespace hfload
