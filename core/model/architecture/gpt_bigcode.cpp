#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// GPTBigCode (SantaCoder, StarCoder), as transformers 4.57 models/gpt_bigcode/modeling_gpt_bigcode.py builds
/// it.
namespace hfload {
namespace {

struct BigCodeConfig {
  uint64_t vocab_size, hidden_size, inner_dim, num_layers, num_heads, head_dim, max_positions;
  bool multi_query, cross_attention;
  std::string activation;
};

BigCodeConfig read_config(const ModelConfig& config) {
  BigCodeConfig c{};
  c.vocab_size = config.get_uint("vocab_size", 50257);
  c.hidden_size = config.get_uint({"n_embd", "hidden_size"}, 768);
  c.inner_dim = config.get_uint("n_inner", 4 * c.hidden_size);
  c.num_layers = config.get_count({"n_layer", "num_hidden_layers"}, 12);
  c.num_heads = config.get_uint({"n_head", "num_attention_heads"}, 12);
  c.head_dim = heads::head_dim(c.hidden_size, c.num_heads);
  c.max_positions = config.get_uint({"n_positions", "max_position_embeddings"}, 1024);
  c.multi_query = config.get_bool("multi_query", true);
  c.cross_attention = config.get_bool("add_cross_attention", false);
  if (c.multi_query && c.cross_attention) {
    throw Error(ErrorCode::invalid_config, "GPTBigCode has no cross-attention with multi_query");
  }
  c.activation = config.get_string("activation_function", "gelu_pytorch_tanh");
  return c;
}

void attention(ModuleBuilder& b, const BigCodeConfig& c, std::string_view name) {
  const bool is_cross_attention = name == "crossattention";
  const uint64_t kv_heads = c.multi_query ? 1 : c.num_heads;
  b.module(name, "GPTBigCodeAttention", [&] {
    if (is_cross_attention) {
      b.linear("c_attn", c.hidden_size, 2 * c.hidden_size, true);
      b.linear("q_attn", c.hidden_size, c.hidden_size, true);
      b.cross_attention_cache(kv_heads, c.head_dim);
    } else {
      b.linear("c_attn", c.hidden_size, c.hidden_size + 2 * kv_heads * c.head_dim, true);
      b.attention_cache(kv_heads, c.head_dim);
    }
    b.linear("c_proj", c.hidden_size, c.hidden_size, true);
    b.dropout("resid_dropout");
  });
}

void block(ModuleBuilder& b, const BigCodeConfig& c, uint64_t i) {
  b.module(index_name(i), "GPTBigCodeBlock", [&] {
    b.layer_norm("ln_1", c.hidden_size);
    attention(b, c, "attn");
    b.layer_norm("ln_2", c.hidden_size);
    if (c.cross_attention) {
      attention(b, c, "crossattention");
      b.layer_norm("ln_cross_attn", c.hidden_size);
    }
    b.module("mlp", "GPTBigCodeMLP", [&] {
      b.linear("c_fc", c.hidden_size, c.inner_dim, true);
      b.linear("c_proj", c.inner_dim, c.hidden_size, true);
      b.activation("act", c.activation);
      b.dropout("dropout");
    });
  });
}

void declare(ModuleBuilder& b, const ModelConfig& config) {
  const BigCodeConfig c = read_config(config);
  b.buffer("bias", {c.max_positions, c.max_positions}, Dtype::boolean, false);
  b.embedding("wte", c.vocab_size, c.hidden_size);
  b.embedding("wpe", c.max_positions, c.hidden_size);
  b.dropout("drop");
  b.list("h", c.num_layers, [&](uint64_t i) { block(b, c, i); });
  b.layer_norm("ln_f", c.hidden_size);
}

constexpr BaseModel kModel{.class_name = "GPTBigCodeModel",
                           .declare = declare,
                           .vocab_size = 50257,
                           .hidden_size = 768,
                           .tie_word_embeddings = true,
                           .attribute = "transformer",
                           .embedding = "wte",
                           .hidden_size_key = "n_embd",
                           .token_classifier = "classifier"};

constexpr ModelClass kClasses[] = {
    {"GPTBigCodeForCausalLM", "transformer", causal_lm<kModel>, {"GPTBigCodeBlock"}},
    {"GPTBigCodeModel", "transformer", base_model<kModel>, {"GPTBigCodeBlock"}},
    {"GPTBigCodeForSequenceClassification",
     "transformer",
     sequence_classification<kModel>,
     {"GPTBigCodeBlock"}},
    {"GPTBigCodeForTokenClassification", "transformer", token_classification<kModel>, {"GPTBigCodeBlock"}},
};

}  // namespace

constexpr Architecture kGptBigCode{"gpt_bigcode", kClasses};

}  // namespace hfload
