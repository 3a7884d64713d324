#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>

#include "core/model/architecture/registry.h"

/// The encoder that BERT's kin share (transformers 4.57, models/bert/modeling_bert.py, of which the others
/// began as copies), and the heads on top of it that are alike.
namespace hfload {

/// What tells one family of BERT's kin from another.
struct BertLike {
  std::string_view prefix;     ///< of the names of its classes: "Roberta"
  std::string_view attribute;  ///< the heads' name for the base model: "roberta"
  /// The defaults of its config.
  uint64_t vocab_size = 30522, hidden_size = 768, intermediate_size = 3072, num_layers = 12, num_heads = 12,
           max_positions = 512, type_vocab_size = 2;
  std::string_view hidden_act = "gelu";
  bool has_sdpa_class = true;      ///< transformers 4.57 has a self-attention class of its own for SDPA
  bool positions_last_v5 = false;  ///< transformers 5 makes the position embeddings last
  bool heads_first_v5 = false;     ///< transformers 5 makes the head before the base model
  bool pre_norm = false;           ///< norms stand before sublayers and after the last layer
};

/// The config of one model of such a family.
struct BertLikeConfig {
  const BertLike& kin;
  uint64_t vocab_size = 0, embedding_size = 0, hidden_size = 0, intermediate_size = 0, num_layers = 0,
           num_heads = 0, max_positions = 0, type_vocab_size = 0;
  bool relative_positions = false, cross_attention = false, is_decoder = false;
  std::string hidden_act = {}, self_attention_class = {}, cross_attention_class = {};
  bool attention_bias = true, attention_dropout = true;

  std::string class_name(std::string_view part) const { return fmt::format("{}{}", kin.prefix, part); }
  uint64_t head_dim() const { return hidden_size / num_heads; }
};

/// Heads that need none or another form of a part below declare it themselves.
namespace bert_like {
/// `embedding_size` is hidden_size until the family says otherwise. Throws Error(invalid_config) where
/// hidden_size is no multiple of num_attention_heads.
BertLikeConfig read_config(const ModelConfig& config, const BertLike& kin, bool is_v5);

void embeddings(ModuleBuilder& b, const BertLikeConfig& c);
void encoder(ModuleBuilder& b, const BertLikeConfig& c);
/// The embeddings, the encoder and, where asked for, the pooler.
void base_model(ModuleBuilder& b, const BertLikeConfig& c, bool add_pooling_layer);
void pooler(ModuleBuilder& b, const BertLikeConfig& c);
void intermediate(ModuleBuilder& b, const BertLikeConfig& c);
void output(ModuleBuilder& b, const BertLikeConfig& c, std::string_view part, uint64_t in_features);

/// `predictions`: a transform, a decoder to the vocabulary and the decoder's bias.
void lm_prediction_head(ModuleBuilder& b, const BertLikeConfig& c);
/// `lm_head` of the families after BERT: the same in one module.
void lm_head(ModuleBuilder& b, const BertLikeConfig& c);
/// Ties the decoder of either, which lies under `predictions`, to the word embeddings.
void tie_lm_head(ModuleBuilder& b, const BertLikeConfig& c, const ModelConfig& config,
                 std::string_view predictions);
/// `classifier` of the families after BERT: dense, dropout and out_proj, with an activation between on
/// demand.
void classification_head(ModuleBuilder& b, const BertLikeConfig& c, uint64_t num_labels,
                         std::string_view activation = "");
}  // namespace bert_like
}  // namespace hfload
