#include <fmt/core.h>

#include <string>

#include "core/base/error.h"
#include "core/model/architecture/registry.h"

/// ALBERT, as transformers 4.57 models/albert/modeling_albert.py builds it: its layers share the weights of a
/// few groups, and only the groups are modules.
namespace hfload {
namespace {

struct AlbertConfig {
  uint64_t vocab_size, embedding_size, hidden_size, intermediate_size, num_groups, layers_a_group, num_heads,
      max_positions, type_vocab_size;
  bool relative_positions;
  std::string hidden_act;
};

AlbertConfig read_config(const ModelConfig& config) {
  AlbertConfig c{};
  c.vocab_size = config.get_uint("vocab_size", 30000);
  c.embedding_size = config.get_uint("embedding_size", 128);
  c.hidden_size = config.get_uint("hidden_size", 4096);
  c.intermediate_size = config.get_uint("intermediate_size", 16384);
  c.num_groups = config.get_count("num_hidden_groups", 1);
  c.layers_a_group = config.get_count("inner_group_num", 1);
  c.num_heads = config.get_uint("num_attention_heads", 64);
  c.max_positions = config.get_uint("max_position_embeddings", 512);
  c.type_vocab_size = config.get_uint("type_vocab_size", 2);
  const std::string positions = config.get_string("position_embedding_type", "absolute");
  c.relative_positions = positions == "relative_key" || positions == "relative_key_query";
  c.hidden_act = config.get_string("hidden_act", "gelu_new");
  if (c.num_heads == 0 || c.hidden_size % c.num_heads != 0) {
    throw Error(
        ErrorCode::invalid_config,
        fmt::format("hidden_size {} is no multiple of num_attention_heads {}", c.hidden_size, c.num_heads));
  }
  return c;
}

void attention(ModuleBuilder& b, const AlbertConfig& c) {
  const auto dropouts = [&] {
    b.dropout("attention_dropout");
    b.dropout("output_dropout");
  };
  b.module("attention", b.is_v5() ? "AlbertAttention" : "AlbertSdpaAttention", [&] {
    if (b.is_v5()) dropouts();
    for (const char* name : {"query", "key", "value"}) b.linear(name, c.hidden_size, c.hidden_size, true);
    if (!b.is_v5()) dropouts();
    b.linear("dense", c.hidden_size, c.hidden_size, true);
    b.layer_norm("LayerNorm", c.hidden_size);
    if (c.relative_positions && !b.is_v5())
      b.embedding("distance_embedding", difference(2 * c.max_positions, 1), c.hidden_size / c.num_heads);
  });
}

void layer(ModuleBuilder& b, const AlbertConfig& c, uint64_t i) {
  b.module(index_name(i), "AlbertLayer", [&] {
    b.layer_norm("full_layer_layer_norm", c.hidden_size);
    attention(b, c);
    b.linear("ffn", c.hidden_size, c.intermediate_size, true);
    b.linear("ffn_output", c.intermediate_size, c.hidden_size, true);
    b.activation("activation", c.hidden_act);
    b.dropout("dropout");
  });
}

void albert(ModuleBuilder& b, const AlbertConfig& c, bool add_pooling_layer) {
  b.module("embeddings", "AlbertEmbeddings", [&] {
    b.embedding("word_embeddings", c.vocab_size, c.embedding_size);
    b.embedding("position_embeddings", c.max_positions, c.embedding_size);
    b.embedding("token_type_embeddings", c.type_vocab_size, c.embedding_size);
    b.layer_norm("LayerNorm", c.embedding_size);
    b.dropout("dropout");
    b.buffer("position_ids", {1, c.max_positions}, Dtype::i64, false);
    b.buffer("token_type_ids", {1, c.max_positions}, Dtype::i64, false);
  });
  b.module("encoder", "AlbertTransformer", [&] {
    b.linear("embedding_hidden_mapping_in", c.embedding_size, c.hidden_size, true);
    b.list("albert_layer_groups", c.num_groups, [&](uint64_t group) {
      b.module(index_name(group), "AlbertLayerGroup",
               [&] { b.list("albert_layers", c.layers_a_group, [&](uint64_t i) { layer(b, c, i); }); });
    });
  });
  if (!add_pooling_layer) return;
  b.linear("pooler", c.hidden_size, c.hidden_size, true);
  b.module("pooler_activation", "Tanh");
}

/// Declares the base model as a head has it, and returns its config.
AlbertConfig with_base(ModuleBuilder& b, const ModelConfig& config, bool add_pooling_layer) {
  AlbertConfig c = read_config(config);
  b.module("albert", "AlbertModel", [&] { albert(b, c, add_pooling_layer); });
  return c;
}

void base_model(ModuleBuilder& b, const ModelConfig& config) { albert(b, read_config(config), true); }

void mlm_head(ModuleBuilder& b, const AlbertConfig& c) {
  b.module("predictions", "AlbertMLMHead", [&] {
    b.parameter("bias", {c.vocab_size});
    b.layer_norm("LayerNorm", c.embedding_size);
    b.linear("dense", c.hidden_size, c.embedding_size, true);
    b.linear("decoder", c.embedding_size, c.vocab_size, true);
    b.activation("activation", c.hidden_act);
  });
}

void tie_mlm_head(ModuleBuilder& b, const ModelConfig& config) {
  const bool tied = config.get_bool("tie_word_embeddings", true);
  if (tied || !b.is_v5()) b.tie("predictions.decoder.bias", "predictions.bias");
  if (tied) b.tie("predictions.decoder.weight", "albert.embeddings.word_embeddings.weight");
}

void masked_lm(ModuleBuilder& b, const ModelConfig& config) {
  mlm_head(b, with_base(b, config, false));
  tie_mlm_head(b, config);
}

void pre_training(ModuleBuilder& b, const ModelConfig& config) {
  const AlbertConfig c = with_base(b, config, true);
  mlm_head(b, c);
  b.module("sop_classifier", "AlbertSOPHead", [&] {
    b.dropout("dropout");
    b.linear("classifier", c.hidden_size, config.num_labels(), true);
  });
  tie_mlm_head(b, config);
}

void classifier(ModuleBuilder& b, const ModelConfig& config, bool add_pooling_layer, uint64_t num_labels) {
  const AlbertConfig c = with_base(b, config, add_pooling_layer);
  b.dropout("dropout");
  b.linear("classifier", c.hidden_size, num_labels, true);
}

void sequence_classification(ModuleBuilder& b, const ModelConfig& config) {
  classifier(b, config, true, config.num_labels());
}

void token_classification(ModuleBuilder& b, const ModelConfig& config) {
  classifier(b, config, false, config.num_labels());
}

void multiple_choice(ModuleBuilder& b, const ModelConfig& config) { classifier(b, config, true, 1); }

void question_answering(ModuleBuilder& b, const ModelConfig& config) {
  const AlbertConfig c = with_base(b, config, false);
  b.linear("qa_outputs", c.hidden_size, config.num_labels(), true);
}

constexpr ModelClass kClasses[] = {
    {"AlbertForMaskedLM", "albert", masked_lm},
    {"AlbertModel", "albert", base_model},
    {"AlbertForPreTraining", "albert", pre_training},
    {"AlbertForSequenceClassification", "albert", sequence_classification},
    {"AlbertForTokenClassification", "albert", token_classification},
    {"AlbertForQuestionAnswering", "albert", question_answering},
    {"AlbertForMultipleChoice", "albert", multiple_choice},
};

}  // namespace

constexpr Architecture kAlbert{"albert", kClasses};

}  // namespace hfload
