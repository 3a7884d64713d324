#include "core/model/architecture/bert_like.h"

/// ELECTRA, as transformers 4.57 models/electra/modeling_electra.py builds it.
namespace hfload {
namespace {

constexpr BertLike kKin{.prefix = "Electra",
                        .attribute = "electra",
                        .hidden_size = 256,
                        .intermediate_size = 1024,
                        .num_heads = 4,
                        .has_sdpa_class = false};

BertLikeConfig read_config(const ModuleBuilder& b, const ModelConfig& config) {
  BertLikeConfig c = bert_like::read_config(config, kKin, b.is_v5());
  c.embedding_size = config.get_uint("embedding_size", 128);
  return c;
}

void electra(ModuleBuilder& b, const BertLikeConfig& c) {
  bert_like::embeddings(b, c);
  if (c.embedding_size != c.hidden_size)
    b.linear("embeddings_project", c.embedding_size, c.hidden_size, true);
  bert_like::encoder(b, c);
}

/// Declares the base model as a head has it, and returns its config.
BertLikeConfig with_base(ModuleBuilder& b, const ModelConfig& config) {
  BertLikeConfig c = read_config(b, config);
  b.module("electra", "ElectraModel", [&] { electra(b, c); });
  return c;
}

void base_model(ModuleBuilder& b, const ModelConfig& config) { electra(b, read_config(b, config)); }

void pre_training(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = with_base(b, config);
  b.module("discriminator_predictions", "ElectraDiscriminatorPredictions", [&] {
    b.linear("dense", c.hidden_size, c.hidden_size, true);
    b.activation("activation", c.hidden_act);
    b.linear("dense_prediction", c.hidden_size, 1, true);
  });
}

void language_model(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = with_base(b, config);
  b.module("generator_predictions", "ElectraGeneratorPredictions", [&] {
    b.activation("activation", "gelu");
    b.layer_norm("LayerNorm", c.embedding_size);
    b.linear("dense", c.hidden_size, c.embedding_size, true);
  });
  b.linear("generator_lm_head", c.embedding_size, c.vocab_size, true);
  if (config.get_bool("tie_word_embeddings", true))
    b.tie("generator_lm_head.weight", "electra.embeddings.word_embeddings.weight");
}

void sequence_classification(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = with_base(b, config);
  bert_like::classification_head(b, c, config.num_labels(), "gelu");
}

void token_classification(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = with_base(b, config);
  b.dropout("dropout");
  b.linear("classifier", c.hidden_size, config.num_labels(), true);
}

void question_answering(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = with_base(b, config);
  b.linear("qa_outputs", c.hidden_size, config.num_labels(), true);
}

/// The options of ElectraSequenceSummary, which leave an Identity where they are off.
void sequence_summary(ModuleBuilder& b, const ModelConfig& config, uint64_t hidden_size) {
  const ConfigValue* activation = config.find("summary_activation");
  const bool is_null = activation != nullptr && activation->is_null();
  const std::string name = is_null ? "" : config.get_string("summary_activation", "gelu");
  const auto dropout = [&](std::string_view child, std::string_view key, double fallback) {
    b.module(child, config.get_double(key, fallback) > 0 ? "Dropout" : "Identity");
  };
  b.module("sequence_summary", "ElectraSequenceSummary", [&] {
    if (config.get_bool("summary_use_proj", true)) {
      const bool to_labels = config.get_bool("summary_proj_to_labels", false) && config.num_labels() > 0;
      b.linear("summary", hidden_size, to_labels ? config.num_labels() : hidden_size, true);
    } else {
      b.module("summary", "Identity");
    }
    if (name.empty()) {
      b.module("activation", "Identity");
    } else {
      b.activation("activation", name);
    }
    dropout("first_dropout", "summary_first_dropout", 0);
    dropout("last_dropout", "summary_last_dropout", 0.1);
  });
}

void multiple_choice(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = with_base(b, config);
  sequence_summary(b, config, c.hidden_size);
  b.linear("classifier", c.hidden_size, 1, true);
}

constexpr ModelClass kClasses[] = {
    {"ElectraForPreTraining", "electra", pre_training},
    {"ElectraModel", "electra", base_model},
    {"ElectraForMaskedLM", "electra", language_model},
    {"ElectraForCausalLM", "electra", language_model},
    {"ElectraForSequenceClassification", "electra", sequence_classification},
    {"ElectraForTokenClassification", "electra", token_classification},
    {"ElectraForQuestionAnswering", "electra", question_answering},
    {"ElectraForMultipleChoice", "electra", multiple_choice},
};

}  // namespace

constexpr Architecture kElectra{"electra", kClasses};

}  // namespace hfload
