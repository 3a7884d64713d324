#include "core/model/architecture/bert_like.h"

/// MPNet, as transformers 4.57 models/mpnet/modeling_mpnet.py builds it.
namespace hfload {
namespace {

constexpr BertLike kKin{.prefix = "MPNet", .attribute = "mpnet", .vocab_size = 30527};

BertLikeConfig read_config(const ModuleBuilder& b, const ModelConfig& config) {
  return bert_like::read_config(config, kKin, b.is_v5());
}

void layer(ModuleBuilder& b, const BertLikeConfig& c, uint64_t i) {
  b.module(index_name(i), "MPNetLayer", [&] {
    b.module("attention", "MPNetAttention", [&] {
      b.module("attn", "MPNetSelfAttention", [&] {
        for (const char* name : {"q", "k", "v", "o"}) b.linear(name, c.hidden_size, c.hidden_size, true);
        b.dropout("dropout");
      });
      b.layer_norm("LayerNorm", c.hidden_size);
      b.dropout("dropout");
    });
    bert_like::intermediate(b, c);
    bert_like::output(b, c, "Output", c.intermediate_size);
  });
}

void mpnet(ModuleBuilder& b, const BertLikeConfig& c, const ModelConfig& config, bool add_pooling_layer) {
  b.module("embeddings", "MPNetEmbeddings", [&] {
    b.embedding("word_embeddings", c.vocab_size, c.hidden_size);
    b.embedding("position_embeddings", c.max_positions, c.hidden_size);
    b.layer_norm("LayerNorm", c.hidden_size);
    b.dropout("dropout");
    b.buffer("position_ids", {1, c.max_positions}, Dtype::i64, false);
  });
  b.module("encoder", "MPNetEncoder", [&] {
    b.list("layer", c.num_layers, [&](uint64_t i) { layer(b, c, i); });
    b.embedding("relative_attention_bias", config.get_uint("relative_attention_num_buckets", 32),
                c.num_heads);
  });
  if (add_pooling_layer) bert_like::pooler(b, c);
}

/// Declares the base model as a head has it, and returns its config.
BertLikeConfig with_base(ModuleBuilder& b, const ModelConfig& config, bool add_pooling_layer) {
  BertLikeConfig c = read_config(b, config);
  b.module("mpnet", "MPNetModel", [&] { mpnet(b, c, config, add_pooling_layer); });
  return c;
}

void base_model(ModuleBuilder& b, const ModelConfig& config) {
  mpnet(b, read_config(b, config), config, true);
}

void masked_lm(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = with_base(b, config, false);
  bert_like::lm_head(b, c);
  bert_like::tie_lm_head(b, c, config, "lm_head");
}

void sequence_classification(ModuleBuilder& b, const ModelConfig& config) {
  bert_like::classification_head(b, with_base(b, config, false), config.num_labels());
}

void classifier(ModuleBuilder& b, const ModelConfig& config, bool add_pooling_layer, uint64_t num_labels) {
  const BertLikeConfig c = with_base(b, config, add_pooling_layer);
  b.dropout("dropout");
  b.linear("classifier", c.hidden_size, num_labels, true);
}

void token_classification(ModuleBuilder& b, const ModelConfig& config) {
  classifier(b, config, false, config.num_labels());
}

void multiple_choice(ModuleBuilder& b, const ModelConfig& config) { classifier(b, config, true, 1); }

void question_answering(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = with_base(b, config, false);
  b.linear("qa_outputs", c.hidden_size, config.num_labels(), true);
}

constexpr ModelClass kClasses[] = {
    {"MPNetForMaskedLM", "mpnet", masked_lm},
    {"MPNetModel", "mpnet", base_model},
    {"MPNetForSequenceClassification", "mpnet", sequence_classification},
    {"MPNetForTokenClassification", "mpnet", token_classification},
    {"MPNetForQuestionAnswering", "mpnet", question_answering},
    {"MPNetForMultipleChoice", "mpnet", multiple_choice},
};

}  // namespace

constexpr Architecture kMpnet{"mpnet", kClasses};

}  // namespace hfload
