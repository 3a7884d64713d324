#pragma once

#include <string_view>

#include "core/model/architecture.h"

/// The heads that transformers puts on every decoder in the same way (4.57, modeling_layers.py, and the
/// ForCausalLM of each family).
namespace hfload {

/// What a head needs to know of the model below it.
struct BaseModel {
  std::string_view class_name;  ///< "LlamaModel"
  /// Declares the base model's children in the open module.
  void (*declare)(ModuleBuilder& b, const ModelConfig& config);
  uint64_t vocab_size = 0;                           ///< the config's default
  uint64_t hidden_size = 0;                          ///< the config's default
  bool tie_word_embeddings = false;                  ///< the config's default
  std::string_view attribute = "model";              ///< the head's name for the base model
  std::string_view embedding = "embed_tokens";       ///< the base model's input embedding
  std::string_view hidden_size_key = "hidden_size";  ///< the family's own name for it
  bool lm_head_bias = false;
  std::string_view token_classifier = "score";  ///< the token classification's linear layer
};

namespace heads {
/// hidden_size / num_heads; throws Error(invalid_config) unless num_heads divides it.
uint64_t head_dim(uint64_t hidden_size, uint64_t num_heads);
void declare_base(ModuleBuilder& b, const ModelConfig& config, const BaseModel& base);
void causal_lm(ModuleBuilder& b, const ModelConfig& config, const BaseModel& base);
void sequence_classification(ModuleBuilder& b, const ModelConfig& config, const BaseModel& base);
void token_classification(ModuleBuilder& b, const ModelConfig& config, const BaseModel& base);
void question_answering(ModuleBuilder& b, const ModelConfig& config, const BaseModel& base,
                        std::string_view attribute);
}  // namespace heads

/// The base model by itself.
template <const BaseModel& kBase>
void base_model(ModuleBuilder& b, const ModelConfig& config) {
  kBase.declare(b, config);
}
/// `model` and `lm_head` (hidden_size to vocab_size), tied where the config says so.
template <const BaseModel& kBase>
void causal_lm(ModuleBuilder& b, const ModelConfig& config) {
  heads::causal_lm(b, config, kBase);
}
/// GenericForSequenceClassification: `model` and `score` without bias.
template <const BaseModel& kBase>
void sequence_classification(ModuleBuilder& b, const ModelConfig& config) {
  heads::sequence_classification(b, config, kBase);
}
/// GenericForTokenClassification: `model`, `dropout` and `score`, or what the family calls it, with bias.
template <const BaseModel& kBase>
void token_classification(ModuleBuilder& b, const ModelConfig& config) {
  heads::token_classification(b, config, kBase);
}
/// GenericForQuestionAnswering: the base model and `qa_outputs` to two numbers a token.
template <const BaseModel& kBase>
void question_answering(ModuleBuilder& b, const ModelConfig& config) {
  heads::question_answering(b, config, kBase, kBase.attribute);
}

}  // namespace hfload
