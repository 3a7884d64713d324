#include <array>

#include "core/model/architecture/bert_like.h"

/// RoBERTa, as transformers 4.57 models/roberta/modeling_roberta.py builds it, and the families that differ
/// from it in a few rules only: XLM-RoBERTa, CamemBERT and XLM-RoBERTa-XL.
namespace hfload {
namespace {

constexpr BertLike kRobertaKin{
    .prefix = "Roberta", .attribute = "roberta", .vocab_size = 50265, .positions_last_v5 = true};
constexpr BertLike kXlmRobertaKin{
    .prefix = "XLMRoberta", .attribute = "roberta", .positions_last_v5 = true, .heads_first_v5 = true};
constexpr BertLike kCamembertKin{
    .prefix = "Camembert", .attribute = "roberta", .positions_last_v5 = true, .heads_first_v5 = true};
constexpr BertLike kXlmRobertaXlKin{.prefix = "XLMRobertaXL",
                                    .attribute = "roberta",
                                    .vocab_size = 250880,
                                    .hidden_size = 2560,
                                    .intermediate_size = 10240,
                                    .num_layers = 36,
                                    .num_heads = 32,
                                    .max_positions = 514,
                                    .type_vocab_size = 1,
                                    .positions_last_v5 = true,
                                    .pre_norm = true};

/// The base model and a head, in the order of the version.
template <std::invocable Head>
void with_head(ModuleBuilder& b, const BertLikeConfig& c, bool add_pooling_layer, Head&& head) {
  const bool head_first = c.kin.heads_first_v5 && b.is_v5();
  if (head_first) head();
  b.module(c.kin.attribute, c.class_name("Model"), [&] { bert_like::base_model(b, c, add_pooling_layer); });
  if (!head_first) head();
}

template <const BertLike& kKin>
void base_model(ModuleBuilder& b, const ModelConfig& config) {
  bert_like::base_model(b, bert_like::read_config(config, kKin, b.is_v5()), true);
}

template <const BertLike& kKin>
void language_model(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = bert_like::read_config(config, kKin, b.is_v5());
  with_head(b, c, false, [&] { bert_like::lm_head(b, c); });
  bert_like::tie_lm_head(b, c, config, "lm_head");
}

template <const BertLike& kKin>
void sequence_classification(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = bert_like::read_config(config, kKin, b.is_v5());
  with_head(b, c, false, [&] { bert_like::classification_head(b, c, config.num_labels()); });
}

void classifier(ModuleBuilder& b, const BertLikeConfig& c, bool add_pooling_layer, uint64_t num_labels) {
  with_head(b, c, add_pooling_layer, [&] {
    b.dropout("dropout");
    b.linear("classifier", c.hidden_size, num_labels, true);
  });
}

template <const BertLike& kKin>
void token_classification(ModuleBuilder& b, const ModelConfig& config) {
  classifier(b, bert_like::read_config(config, kKin, b.is_v5()), false, config.num_labels());
}

template <const BertLike& kKin>
void multiple_choice(ModuleBuilder& b, const ModelConfig& config) {
  classifier(b, bert_like::read_config(config, kKin, b.is_v5()), true, 1);
}

template <const BertLike& kKin>
void question_answering(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = bert_like::read_config(config, kKin, b.is_v5());
  with_head(b, c, false, [&] { b.linear("qa_outputs", c.hidden_size, config.num_labels(), true); });
}

/// The names of a family's classes and what it does not split: the base model, and in transformers 4.57 the
/// heads.
struct Names {
  std::string_view model, masked_lm, causal_lm, sequence_classification, token_classification,
      question_answering, multiple_choice;
  NameList no_split_modules, base_no_split_modules, heads_no_split_modules;
};

template <const BertLike& kKin>
constexpr std::array<ModelClass, 7> classes(const Names& n) {
  const auto model_class = [&](std::string_view name, auto declare, const NameList& v4_no_split) {
    return ModelClass{.name = name,
                      .base_model_prefix = "roberta",
                      .declare = declare,
                      .no_split_modules = v4_no_split,
                      .v5_no_split_modules = n.no_split_modules};
  };
  const NameList& heads = n.heads_no_split_modules;
  return {model_class(n.masked_lm, language_model<kKin>, heads),
          model_class(n.model, base_model<kKin>, n.base_no_split_modules),
          model_class(n.causal_lm, language_model<kKin>, heads),
          model_class(n.sequence_classification, sequence_classification<kKin>, heads),
          model_class(n.token_classification, token_classification<kKin>, heads),
          model_class(n.question_answering, question_answering<kKin>, heads),
          model_class(n.multiple_choice, multiple_choice<kKin>, heads)};
}

constexpr auto kRobertaClasses = classes<kRobertaKin>(
    {"RobertaModel",
     "RobertaForMaskedLM",
     "RobertaForCausalLM",
     "RobertaForSequenceClassification",
     "RobertaForTokenClassification",
     "RobertaForQuestionAnswering",
     "RobertaForMultipleChoice",
     {"RobertaEmbeddings", "RobertaLayer"},
     {"RobertaEmbeddings", "RobertaLayer"},
     {"RobertaEmbeddings", "RobertaLayer", "RobertaSelfAttention", "RobertaSdpaSelfAttention"}});
constexpr auto kXlmRobertaClasses = classes<kXlmRobertaKin>(
    {"XLMRobertaModel",
     "XLMRobertaForMaskedLM",
     "XLMRobertaForCausalLM",
     "XLMRobertaForSequenceClassification",
     "XLMRobertaForTokenClassification",
     "XLMRobertaForQuestionAnswering",
     "XLMRobertaForMultipleChoice",
     {"XLMRobertaEmbeddings", "XLMRobertaLayer"},
     {"XLMRobertaEmbeddings", "XLMRobertaLayer"},
     {"XLMRobertaEmbeddings", "XLMRobertaLayer", "XLMRobertaSelfAttention", "XLMRobertaSdpaSelfAttention"}});
constexpr auto kCamembertClasses = classes<kCamembertKin>({"CamembertModel",
                                                           "CamembertForMaskedLM",
                                                           "CamembertForCausalLM",
                                                           "CamembertForSequenceClassification",
                                                           "CamembertForTokenClassification",
                                                           "CamembertForQuestionAnswering",
                                                           "CamembertForMultipleChoice",
                                                           {"CamembertEmbeddings", "CamembertLayer"},
                                                           {},
                                                           {}});
constexpr auto kXlmRobertaXlClasses =
    classes<kXlmRobertaXlKin>({"XLMRobertaXLModel",
                               "XLMRobertaXLForMaskedLM",
                               "XLMRobertaXLForCausalLM",
                               "XLMRobertaXLForSequenceClassification",
                               "XLMRobertaXLForTokenClassification",
                               "XLMRobertaXLForQuestionAnswering",
                               "XLMRobertaXLForMultipleChoice",
                               {"XLMRobertaXLEmbeddings", "XLMRobertaXLLayer"},
                               {"XLMRobertaXLEmbeddings", "XLMRobertaXLLayer"},
                               {"XLMRobertaXLEmbeddings", "XLMRobertaXLLayer"}});

}  // namespace

constexpr Architecture kCamembert{"camembert", kCamembertClasses};
constexpr Architecture kRoberta{"roberta", kRobertaClasses};
constexpr Architecture kXlmRoberta{"xlm-roberta", kXlmRobertaClasses};
constexpr Architecture kXlmRobertaXl{"xlm-roberta-xl", kXlmRobertaXlClasses};

}  // namespace hfload
