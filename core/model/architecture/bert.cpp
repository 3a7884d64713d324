#include "core/model/architecture/bert_like.h"

/// BERT, as transformers 4.57 models/bert/modeling_bert.py builds it.
namespace hfload {
namespace {

constexpr BertLike kKin{.prefix = "Bert", .attribute = "bert"};

BertLikeConfig read_config(const ModuleBuilder& b, const ModelConfig& config) {
  return bert_like::read_config(config, kKin, b.is_v5());
}

void bert(ModuleBuilder& b, const BertLikeConfig& c, bool add_pooling_layer) {
  b.module("bert", "BertModel", [&] { bert_like::base_model(b, c, add_pooling_layer); });
}

void base_model(ModuleBuilder& b, const ModelConfig& config) {
  bert_like::base_model(b, read_config(b, config), true);
}

void language_model(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = read_config(b, config);
  bert(b, c, false);
  b.module("cls", "BertOnlyMLMHead", [&] { bert_like::lm_prediction_head(b, c); });
  bert_like::tie_lm_head(b, c, config, "cls.predictions");
}

void pre_training(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = read_config(b, config);
  bert(b, c, true);
  b.module("cls", "BertPreTrainingHeads", [&] {
    bert_like::lm_prediction_head(b, c);
    b.linear("seq_relationship", c.hidden_size, 2, true);
  });
  bert_like::tie_lm_head(b, c, config, "cls.predictions");
}

void next_sentence_prediction(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = read_config(b, config);
  bert(b, c, true);
  b.module("cls", "BertOnlyNSPHead", [&] { b.linear("seq_relationship", c.hidden_size, 2, true); });
}

void classifier(ModuleBuilder& b, const ModelConfig& config, bool add_pooling_layer, uint64_t num_labels) {
  const BertLikeConfig c = read_config(b, config);
  bert(b, c, add_pooling_layer);
  b.dropout("dropout");
  b.linear("classifier", c.hidden_size, num_labels, true);
}

void sequence_classification(ModuleBuilder& b, const ModelConfig& config) {
  classifier(b, config, true, config.num_labels());
}

void multiple_choice(ModuleBuilder& b, const ModelConfig& config) { classifier(b, config, true, 1); }

void token_classification(ModuleBuilder& b, const ModelConfig& config) {
  classifier(b, config, false, config.num_labels());
}

void question_answering(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = read_config(b, config);
  bert(b, c, false);
  b.linear("qa_outputs", c.hidden_size, config.num_labels(), true);
}

constexpr NameList kNoSplit = {"BertEmbeddings", "BertLayer"};
constexpr ModelClass kClasses[] = {
    {"BertForMaskedLM", "bert", language_model, kNoSplit},
    {"BertModel", "bert", base_model, kNoSplit},
    {"BertForSequenceClassification", "bert", sequence_classification, kNoSplit},
    {"BertForTokenClassification", "bert", token_classification, kNoSplit},
    {"BertForQuestionAnswering", "bert", question_answering, kNoSplit},
    {"BertForPreTraining", "bert", pre_training, kNoSplit},
    {"BertLMHeadModel", "bert", language_model, kNoSplit},
    {"BertForNextSentencePrediction", "bert", next_sentence_prediction, kNoSplit},
    {"BertForMultipleChoice", "bert", multiple_choice, kNoSplit},
};

}  // namespace

constexpr Architecture kBert{"bert", kClasses};

}  // namespace hfload
