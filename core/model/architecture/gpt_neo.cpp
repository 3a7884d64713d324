#include <string>
#include <string_view>

#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// GPT-Neo, as transformers 4.57 models/gpt_neo/modeling_gpt_neo.py builds it.
namespace hfload {
namespace {

struct NeoConfig {
  uint64_t vocab_size, hidden_size, intermediate_size, num_layers, num_heads, head_dim, max_positions;
  std::string activation;
};

NeoConfig read_config(const ModelConfig& config) {
  NeoConfig c{};
  c.vocab_size = config.get_uint("vocab_size", 50257);
  c.hidden_size = config.get_uint("hidden_size", 2048);
  c.intermediate_size = config.get_uint("intermediate_size", 4 * c.hidden_size);
  c.num_layers = config.get_count({"num_layers", "num_hidden_layers"}, 24);
  c.num_heads = config.get_uint({"num_heads", "num_attention_heads"}, 16);
  c.head_dim = heads::head_dim(c.hidden_size, c.num_heads);
  c.max_positions = config.get_uint("max_position_embeddings", 2048);
  c.activation = config.get_string("activation_function", "gelu_new");
  return c;
}

void block(ModuleBuilder& b, const NeoConfig& c, uint64_t i) {
  b.module(index_name(i), "GPTNeoBlock", [&] {
    b.layer_norm("ln_1", c.hidden_size);
    b.module("attn", "GPTNeoAttention", [&] {
      b.module("attention", "GPTNeoSelfAttention", [&] {
        b.buffer("bias", {1, 1, c.max_positions, c.max_positions}, Dtype::boolean, false);
        // torch.tensor(-1e9) takes the default dtype, which is the model's while it is being built.
        if (!b.is_v5()) b.buffer("masked_bias", {}, b.default_dtype(), false);
        b.dropout("attn_dropout");
        b.dropout("resid_dropout");
        for (const std::string_view name : {"k_proj", "v_proj", "q_proj"})
          b.linear(name, c.hidden_size, c.hidden_size, false);
        b.linear("out_proj", c.hidden_size, c.hidden_size, true);
        // Layers of local attention keep all tokens too and mask them.
        b.attention_cache(c.num_heads, c.head_dim);
      });
    });
    b.layer_norm("ln_2", c.hidden_size);
    b.module("mlp", "GPTNeoMLP", [&] {
      b.linear("c_fc", c.hidden_size, c.intermediate_size, true);
      b.linear("c_proj", c.intermediate_size, c.hidden_size, true);
      b.activation("act", c.activation);
      b.dropout("dropout");
    });
  });
}

void declare(ModuleBuilder& b, const ModelConfig& config) {
  const NeoConfig c = read_config(config);
  b.embedding("wte", c.vocab_size, c.hidden_size);
  b.embedding("wpe", c.max_positions, c.hidden_size);
  b.dropout("drop");
  b.list("h", c.num_layers, [&](uint64_t i) { block(b, c, i); });
  b.layer_norm("ln_f", c.hidden_size);
}

constexpr BaseModel kModel{.class_name = "GPTNeoModel",
                           .declare = declare,
                           .vocab_size = 50257,
                           .hidden_size = 2048,
                           .tie_word_embeddings = true,
                           .attribute = "transformer",
                           .embedding = "wte",
                           .token_classifier = "classifier"};

constexpr ModelClass kClasses[] = {
    {"GPTNeoForCausalLM", "transformer", causal_lm<kModel>, {"GPTNeoBlock"}},
    {"GPTNeoModel", "transformer", base_model<kModel>, {"GPTNeoBlock"}},
    {"GPTNeoForSequenceClassification", "transformer", sequence_classification<kModel>, {"GPTNeoBlock"}},
    {"GPTNeoForTokenClassification", "transformer", token_classification<kModel>, {"GPTNeoBlock"}},
    {"GPTNeoForQuestionAnswering", "transformer", question_answering<kModel>, {"GPTNeoBlock"}},
};

}  // namespace

constexpr Architecture kGptNeo{"gpt_neo", kClasses};

}  // namespace hfload
