#include <fmt/core.h>

#include <string>

#include "core/base/error.h"
#include "core/model/architecture/registry.h"

/// DistilBERT, as transformers 4.57 models/distilbert/modeling_distilbert.py builds it.
namespace hfload {
namespace {

struct DistilBertConfig {
  uint64_t vocab_size, max_positions, num_layers, num_heads, dim, hidden_dim;
  std::string activation;
};

DistilBertConfig read_config(const ModelConfig& config) {
  DistilBertConfig c{};
  c.vocab_size = config.get_uint("vocab_size", 30522);
  c.max_positions = config.get_uint("max_position_embeddings", 512);
  c.num_layers = config.get_count({"n_layers", "num_hidden_layers"}, 6);
  c.num_heads = config.get_uint({"n_heads", "num_attention_heads"}, 12);
  c.dim = config.get_uint({"dim", "hidden_size"}, 768);
  c.hidden_dim = config.get_uint("hidden_dim", 3072);
  c.activation = config.get_string("activation", "gelu");
  if (c.num_heads == 0 || c.dim % c.num_heads != 0) {
    throw Error(ErrorCode::invalid_config,
                fmt::format("dim {} is no multiple of n_heads {}", c.dim, c.num_heads));
  }
  return c;
}

void block(ModuleBuilder& b, const DistilBertConfig& c, uint64_t i) {
  b.module(index_name(i), "TransformerBlock", [&] {
    b.module("attention", b.is_v5() ? "DistilBertSelfAttention" : "DistilBertSdpaAttention", [&] {
      if (!b.is_v5()) b.dropout("dropout");
      for (const char* name : {"q_lin", "k_lin", "v_lin", "out_lin"}) b.linear(name, c.dim, c.dim, true);
      if (b.is_v5()) b.dropout("dropout");
    });
    b.layer_norm("sa_layer_norm", c.dim);
    b.module("ffn", "FFN", [&] {
      b.dropout("dropout");
      b.linear("lin1", c.dim, c.hidden_dim, true);
      b.linear("lin2", c.hidden_dim, c.dim, true);
      b.activation("activation", c.activation);
    });
    b.layer_norm("output_layer_norm", c.dim);
  });
}

void distilbert(ModuleBuilder& b, const DistilBertConfig& c) {
  b.module("embeddings", "Embeddings", [&] {
    b.embedding("word_embeddings", c.vocab_size, c.dim);
    b.embedding("position_embeddings", c.max_positions, c.dim);
    b.layer_norm("LayerNorm", c.dim);
    b.dropout("dropout");
    b.buffer("position_ids", {1, c.max_positions}, Dtype::i64, false);
  });
  b.module("transformer", "Transformer",
           [&] { b.list("layer", c.num_layers, [&](uint64_t i) { block(b, c, i); }); });
}

/// The base model as the heads have it.
void base(ModuleBuilder& b, const DistilBertConfig& c) {
  b.module("distilbert", "DistilBertModel", [&] { distilbert(b, c); });
}

void base_model(ModuleBuilder& b, const ModelConfig& config) { distilbert(b, read_config(config)); }

void masked_lm(ModuleBuilder& b, const ModelConfig& config) {
  const DistilBertConfig c = read_config(config);
  b.activation("activation", c.activation);
  base(b, c);
  b.linear("vocab_transform", c.dim, c.dim, true);
  b.layer_norm("vocab_layer_norm", c.dim);
  b.linear("vocab_projector", c.dim, c.vocab_size, true);
  b.module("mlm_loss_fct", "CrossEntropyLoss");
  if (config.get_bool("tie_word_embeddings", true))
    b.tie("vocab_projector.weight", "distilbert.embeddings.word_embeddings.weight");
}

void classifier(ModuleBuilder& b, const DistilBertConfig& c, uint64_t num_labels) {
  base(b, c);
  b.linear("pre_classifier", c.dim, c.dim, true);
  b.linear("classifier", c.dim, num_labels, true);
  b.dropout("dropout");
}

void sequence_classification(ModuleBuilder& b, const ModelConfig& config) {
  classifier(b, read_config(config), config.num_labels());
}

void multiple_choice(ModuleBuilder& b, const ModelConfig& config) { classifier(b, read_config(config), 1); }

void question_answering(ModuleBuilder& b, const ModelConfig& config) {
  const DistilBertConfig c = read_config(config);
  if (config.num_labels() != 2)
    throw Error(ErrorCode::invalid_config, "DistilBertForQuestionAnswering has exactly two labels");
  base(b, c);
  b.linear("qa_outputs", c.dim, 2, true);
  b.dropout("dropout");
}

void token_classification(ModuleBuilder& b, const ModelConfig& config) {
  const DistilBertConfig c = read_config(config);
  base(b, c);
  b.dropout("dropout");
  b.linear("classifier", c.dim, config.num_labels(), true);
}

constexpr ModelClass kClasses[] = {
    {"DistilBertForMaskedLM", "distilbert", masked_lm},
    {"DistilBertModel", "distilbert", base_model},
    {"DistilBertForSequenceClassification", "distilbert", sequence_classification},
    {"DistilBertForTokenClassification", "distilbert", token_classification},
    {"DistilBertForQuestionAnswering", "distilbert", question_answering},
    {"DistilBertForMultipleChoice", "distilbert", multiple_choice},
};

}  // namespace

constexpr Architecture kDistilBert{"distilbert", kClasses};

}  // namespace hfload
