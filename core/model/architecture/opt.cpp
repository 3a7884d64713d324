#include <string>
#include <string_view>

#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// OPT, as transformers 4.57 models/opt/modeling_opt.py builds it.
namespace hfload {
namespace {

struct OptConfig {
  uint64_t vocab_size, hidden_size, word_embed_proj_dim, ffn_dim, num_layers, num_heads, head_dim,
      max_positions;
  bool final_norm, bias, norm_weights;
  std::string activation;
};

OptConfig read_config(const ModelConfig& config) {
  OptConfig c{};
  c.vocab_size = config.get_uint("vocab_size", 50272);
  c.hidden_size = config.get_uint("hidden_size", 768);
  c.word_embed_proj_dim = config.get_uint("word_embed_proj_dim", c.hidden_size);
  c.ffn_dim = config.get_uint("ffn_dim", 3072);
  c.num_layers = config.get_count("num_hidden_layers", 12);
  c.num_heads = config.get_uint("num_attention_heads", 12);
  c.head_dim = heads::head_dim(c.hidden_size, c.num_heads);
  c.max_positions = config.get_uint("max_position_embeddings", 2048);
  c.final_norm =
      config.get_bool("do_layer_norm_before", true) && !config.get_bool("_remove_final_layer_norm", false);
  c.bias = config.get_bool("enable_bias", true);
  c.norm_weights = config.get_bool("layer_norm_elementwise_affine", true);
  c.activation = config.get_string("activation_function", "relu");
  return c;
}

void layer_norm(ModuleBuilder& b, const OptConfig& c, std::string_view name) {
  if (c.norm_weights) {
    b.layer_norm(name, c.hidden_size);
  } else {
    b.module(name, "LayerNorm");
  }
}

void decoder_layer(ModuleBuilder& b, const OptConfig& c, uint64_t i) {
  b.module(index_name(i), "OPTDecoderLayer", [&] {
    b.module("self_attn", "OPTAttention", [&] {
      for (const std::string_view name : {"k_proj", "v_proj", "q_proj", "out_proj"})
        b.linear(name, c.hidden_size, c.hidden_size, c.bias);
      b.attention_cache(c.num_heads, c.head_dim);
    });
    b.activation("activation_fn", c.activation);
    layer_norm(b, c, "self_attn_layer_norm");
    b.linear("fc1", c.hidden_size, c.ffn_dim, c.bias);
    b.linear("fc2", c.ffn_dim, c.hidden_size, c.bias);
    layer_norm(b, c, "final_layer_norm");
  });
}

void declare(ModuleBuilder& b, const ModelConfig& config) {
  const OptConfig c = read_config(config);
  b.module("decoder", "OPTDecoder", [&] {
    b.embedding("embed_tokens", c.vocab_size, c.word_embed_proj_dim);
    // Positions are counted from 2: the first two rows belong to padding.
    b.module("embed_positions", "OPTLearnedPositionalEmbedding", [&] {
      b.parameter("weight", {c.max_positions + 2, c.hidden_size});
    });
    if (c.word_embed_proj_dim != c.hidden_size) {
      b.linear("project_out", c.hidden_size, c.word_embed_proj_dim, false);
      b.linear("project_in", c.word_embed_proj_dim, c.hidden_size, false);
    }
    if (c.final_norm) layer_norm(b, c, "final_layer_norm");
    b.list("layers", c.num_layers, [&](uint64_t i) { decoder_layer(b, c, i); });
  });
}

/// The heads stand on the projected hidden states.
constexpr BaseModel kModel{.class_name = "OPTModel",
                           .declare = declare,
                           .vocab_size = 50272,
                           .hidden_size = 768,
                           .tie_word_embeddings = true,
                           .embedding = "decoder.embed_tokens",
                           .hidden_size_key = "word_embed_proj_dim"};

constexpr ModelClass kClasses[] = {
    {"OPTForCausalLM", "model", causal_lm<kModel>, {"OPTDecoderLayer"}},
    {"OPTModel", "model", base_model<kModel>, {"OPTDecoderLayer"}},
    {"OPTForSequenceClassification", "model", sequence_classification<kModel>, {"OPTDecoderLayer"}},
    {"OPTForQuestionAnswering", "model", question_answering<kModel>, {"OPTDecoderLayer"}},
};

}  // namespace

constexpr Architecture kOpt{"opt", kClasses};

}  // namespace hfload
