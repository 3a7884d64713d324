#include "core/model/architecture/bert_like.h"

#include "core/base/error.h"

namespace hfload::bert_like {
namespace {

void attention(ModuleBuilder& b, const BertLikeConfig& c, bool is_cross_attention) {
  b.module(is_cross_attention ? "crossattention" : "attention", c.class_name("Attention"), [&] {
    if (c.kin.pre_norm && !b.is_v5()) b.layer_norm("self_attn_layer_norm", c.hidden_size);
    b.module("self", is_cross_attention ? c.cross_attention_class : c.self_attention_class, [&] {
      b.linear("query", c.hidden_size, c.hidden_size, c.attention_bias);
      b.linear("key", c.hidden_size, c.hidden_size, c.attention_bias);
      b.linear("value", c.hidden_size, c.hidden_size, c.attention_bias);
      if (c.attention_dropout) b.dropout("dropout");
      if (c.relative_positions && !is_cross_attention && !b.is_v5())
        b.embedding("distance_embedding", 2 * c.max_positions - 1, c.head_dim());
      if (c.is_decoder && !is_cross_attention) b.attention_cache(c.num_heads, c.head_dim());
      if (c.is_decoder && is_cross_attention) b.cross_attention_cache(c.num_heads, c.head_dim());
    });
    output(b, c, "SelfOutput", c.hidden_size);
    if (c.kin.pre_norm && b.is_v5()) b.layer_norm("self_attn_layer_norm", c.hidden_size);
  });
}

void layer(ModuleBuilder& b, const BertLikeConfig& c, uint64_t i) {
  b.module(index_name(i), c.class_name("Layer"), [&] {
    attention(b, c, false);
    if (c.cross_attention) attention(b, c, true);
    intermediate(b, c);
    output(b, c, "Output", c.intermediate_size);
    if (c.kin.pre_norm) b.layer_norm("LayerNorm", c.hidden_size);
  });
}

}  // namespace

BertLikeConfig read_config(const ModelConfig& config, const BertLike& kin, bool is_v5) {
  BertLikeConfig c{.kin = kin};
  c.vocab_size = config.get_uint("vocab_size", kin.vocab_size);
  c.hidden_size = config.get_uint("hidden_size", kin.hidden_size);
  c.embedding_size = c.hidden_size;
  c.intermediate_size = config.get_uint("intermediate_size", kin.intermediate_size);
  c.num_layers = config.get_count("num_hidden_layers", kin.num_layers);
  c.num_heads = config.get_uint("num_attention_heads", kin.num_heads);
  c.max_positions = config.get_uint("max_position_embeddings", kin.max_positions);
  c.type_vocab_size = config.get_uint("type_vocab_size", kin.type_vocab_size);
  const std::string positions = config.get_string("position_embedding_type", "absolute");
  c.relative_positions = positions == "relative_key" || positions == "relative_key_query";
  c.is_decoder = config.get_bool("is_decoder", false);
  c.cross_attention = config.get_bool("add_cross_attention", false);
  c.hidden_act = config.get_string("hidden_act", kin.hidden_act);
  c.self_attention_class = c.class_name(kin.has_sdpa_class && !is_v5 ? "SdpaSelfAttention" : "SelfAttention");
  c.cross_attention_class = is_v5 ? c.class_name("CrossAttention") : c.self_attention_class;
  if (c.num_heads == 0 || c.hidden_size % c.num_heads != 0) {
    throw Error(
        ErrorCode::invalid_config,
        fmt::format("hidden_size {} is no multiple of num_attention_heads {}", c.hidden_size, c.num_heads));
  }
  return c;
}

void embeddings(ModuleBuilder& b, const BertLikeConfig& c) {
  const bool positions_last = c.kin.positions_last_v5 && b.is_v5();
  const auto positions = [&] { b.embedding("position_embeddings", c.max_positions, c.embedding_size); };
  b.module("embeddings", c.class_name("Embeddings"), [&] {
    b.embedding("word_embeddings", c.vocab_size, c.embedding_size);
    if (!positions_last) positions();
    b.embedding("token_type_embeddings", c.type_vocab_size, c.embedding_size);
    if (!c.kin.pre_norm) b.layer_norm("LayerNorm", c.embedding_size);
    b.dropout("dropout");
    if (positions_last) positions();
    b.buffer("position_ids", {1, c.max_positions}, Dtype::i64, false);
    b.buffer("token_type_ids", {1, c.max_positions}, Dtype::i64, false);
  });
}

void encoder(ModuleBuilder& b, const BertLikeConfig& c) {
  b.module("encoder", c.class_name("Encoder"), [&] {
    b.list("layer", c.num_layers, [&](uint64_t i) { layer(b, c, i); });
    if (c.kin.pre_norm) b.layer_norm("LayerNorm", c.hidden_size);
  });
}

void base_model(ModuleBuilder& b, const BertLikeConfig& c, bool add_pooling_layer) {
  embeddings(b, c);
  encoder(b, c);
  if (add_pooling_layer) pooler(b, c);
}

void pooler(ModuleBuilder& b, const BertLikeConfig& c) {
  b.module("pooler", c.class_name("Pooler"), [&] {
    b.linear("dense", c.hidden_size, c.hidden_size, true);
    b.module("activation", "Tanh");
  });
}

void intermediate(ModuleBuilder& b, const BertLikeConfig& c) {
  b.module("intermediate", c.class_name("Intermediate"), [&] {
    b.linear("dense", c.hidden_size, c.intermediate_size, true);
    b.activation("intermediate_act_fn", c.hidden_act);
  });
}

void output(ModuleBuilder& b, const BertLikeConfig& c, std::string_view part, uint64_t in_features) {
  b.module("output", c.class_name(part), [&] {
    b.linear("dense", in_features, c.hidden_size, true);
    if (!c.kin.pre_norm) b.layer_norm("LayerNorm", c.hidden_size);
    if (!c.kin.pre_norm || part == "SelfOutput") b.dropout("dropout");
  });
}

void lm_prediction_head(ModuleBuilder& b, const BertLikeConfig& c) {
  b.module("predictions", c.class_name("LMPredictionHead"), [&] {
    b.module("transform", c.class_name("PredictionHeadTransform"), [&] {
      b.linear("dense", c.hidden_size, c.hidden_size, true);
      b.activation("transform_act_fn", c.hidden_act);
      b.layer_norm("LayerNorm", c.hidden_size);
    });
    b.linear("decoder", c.hidden_size, c.vocab_size, true);
    b.parameter("bias", {c.vocab_size});
  });
}

void lm_head(ModuleBuilder& b, const BertLikeConfig& c) {
  b.module("lm_head", c.class_name("LMHead"), [&] {
    b.linear("dense", c.hidden_size, c.hidden_size, true);
    b.layer_norm("layer_norm", c.hidden_size);
    b.linear("decoder", c.hidden_size, c.vocab_size, true);
    b.parameter("bias", {c.vocab_size});
  });
}

void tie_lm_head(ModuleBuilder& b, const BertLikeConfig& c, const ModelConfig& config,
                 std::string_view predictions) {
  const bool tied = config.get_bool("tie_word_embeddings", true);
  if (tied || !b.is_v5())
    b.tie(fmt::format("{}.decoder.bias", predictions), fmt::format("{}.bias", predictions));
  if (tied) {
    b.tie(fmt::format("{}.decoder.weight", predictions),
          fmt::format("{}.embeddings.word_embeddings.weight", c.kin.attribute));
  }
}

void classification_head(ModuleBuilder& b, const BertLikeConfig& c, uint64_t num_labels,
                         std::string_view activation) {
  b.module("classifier", c.class_name("ClassificationHead"), [&] {
    b.linear("dense", c.hidden_size, c.hidden_size, true);
    if (!activation.empty()) b.activation("activation", activation);
    b.dropout("dropout");
    b.linear("out_proj", c.hidden_size, num_labels, true);
  });
}

}  // namespace hfload::bert_like
