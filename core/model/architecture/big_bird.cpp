#include "core/base/error.h"
#include "core/model/architecture/bert_like.h"

/// BigBird, as transformers 4.57 models/big_bird/modeling_big_bird.py builds it.
namespace hfload {
namespace {

constexpr BertLike kKin{.prefix = "BigBird",
                        .attribute = "bert",
                        .vocab_size = 50358,
                        .max_positions = 4096,
                        .hidden_act = "gelu_new"};

BertLikeConfig read_config(const ModuleBuilder& b, const ModelConfig& config) {
  BertLikeConfig c = bert_like::read_config(config, kKin, b.is_v5());
  const std::string type = config.get_string("attention_type", "block_sparse");
  if (type != "block_sparse" && type != "original_full") {
    throw Error(ErrorCode::invalid_config,
                fmt::format("attention_type is '{}'; it must be block_sparse or original_full", type));
  }
  // A decoder with cross-attention is given full attention, whatever config.json says.
  const bool is_full = type == "original_full" || c.cross_attention;
  c.self_attention_class = c.class_name(is_full ? "SelfAttention" : "BlockSparseAttention");
  c.cross_attention_class = c.self_attention_class;
  c.attention_bias = config.get_bool("use_bias", true);
  c.attention_dropout = is_full;
  c.relative_positions = false;
  return c;
}

void big_bird(ModuleBuilder& b, const BertLikeConfig& c, bool add_pooling_layer) {
  bert_like::base_model(b, c, false);
  if (!add_pooling_layer) return;
  b.linear("pooler", c.hidden_size, c.hidden_size, true);
  b.module("activation", "Tanh");
}

/// Declares the base model as a head has it, and returns its config.
BertLikeConfig with_base(ModuleBuilder& b, const ModelConfig& config, bool add_pooling_layer = true) {
  BertLikeConfig c = read_config(b, config);
  b.module("bert", "BigBirdModel", [&] { big_bird(b, c, add_pooling_layer); });
  return c;
}

void base_model(ModuleBuilder& b, const ModelConfig& config) { big_bird(b, read_config(b, config), true); }

void language_model(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = with_base(b, config);
  b.module("cls", "BigBirdOnlyMLMHead", [&] { bert_like::lm_prediction_head(b, c); });
  bert_like::tie_lm_head(b, c, config, "cls.predictions");
}

void pre_training(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = with_base(b, config);
  b.module("cls", "BigBirdPreTrainingHeads", [&] {
    bert_like::lm_prediction_head(b, c);
    b.linear("seq_relationship", c.hidden_size, 2, true);
  });
  bert_like::tie_lm_head(b, c, config, "cls.predictions");
}

void sequence_classification(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = with_base(b, config);
  bert_like::classification_head(b, c, config.num_labels());
}

void token_classification(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = with_base(b, config);
  b.dropout("dropout");
  b.linear("classifier", c.hidden_size, config.num_labels(), true);
}

void multiple_choice(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = with_base(b, config);
  b.dropout("dropout");
  b.linear("classifier", c.hidden_size, 1, true);
}

void question_answering(ModuleBuilder& b, const ModelConfig& config) {
  const BertLikeConfig c = with_base(b, config, false);
  b.module("qa_classifier", "BigBirdForQuestionAnsweringHead", [&] {
    b.dropout("dropout");
    bert_like::intermediate(b, c);
    bert_like::output(b, c, "Output", c.intermediate_size);
    b.linear("qa_outputs", c.hidden_size, 2, true);
  });
}

constexpr ModelClass kClasses[] = {
    {"BigBirdForPreTraining", "bert", pre_training},
    {"BigBirdModel", "bert", base_model},
    {"BigBirdForMaskedLM", "bert", language_model},
    {"BigBirdForCausalLM", "bert", language_model},
    {"BigBirdForSequenceClassification", "bert", sequence_classification},
    {"BigBirdForTokenClassification", "bert", token_classification},
    {"BigBirdForQuestionAnswering", "bert", question_answering},
    {"BigBirdForMultipleChoice", "bert", multiple_choice},
};

}  // namespace

constexpr Architecture kBigBird{"big_bird", kClasses};

}  // namespace hfload
