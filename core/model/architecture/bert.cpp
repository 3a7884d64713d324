#include <fmt/format.h>

#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/model/architecture/registry.h"

/// BERT, as transformers 4.57 models/bert/modeling_bert.py builds it.
namespace hfload {
namespace {

struct BertConfig {
  uint64_t vocab_size, hidden_size, intermediate_size, num_layers, num_heads, max_positions, type_vocab_size;
  bool relative_positions, cross_attention, is_decoder;
  std::string hidden_act;
  uint64_t head_dim() const { return hidden_size / num_heads; }
};

BertConfig read_config(const ModelConfig& config) {
  BertConfig c{};
  c.vocab_size = config.get_uint("vocab_size", 30522);
  c.hidden_size = config.get_uint("hidden_size", 768);
  c.intermediate_size = config.get_uint("intermediate_size", 3072);
  c.num_layers = config.get_count("num_hidden_layers", 12);
  c.num_heads = config.get_uint("num_attention_heads", 12);
  c.max_positions = config.get_uint("max_position_embeddings", 512);
  c.type_vocab_size = config.get_uint("type_vocab_size", 2);
  const std::string positions = config.get_string("position_embedding_type", "absolute");
  c.relative_positions = positions == "relative_key" || positions == "relative_key_query";
  c.is_decoder = config.get_bool("is_decoder", false);
  c.cross_attention = config.get_bool("add_cross_attention", false);
  c.hidden_act = config.get_string("hidden_act", "gelu");
  if (c.num_heads == 0 || c.hidden_size % c.num_heads != 0) {
    throw Error(
        ErrorCode::invalid_config,
        fmt::format("hidden_size {} is no multiple of num_attention_heads {}", c.hidden_size, c.num_heads));
  }
  return c;
}

void output(ModuleBuilder& b, std::string_view class_name, uint64_t in_features, uint64_t hidden_size) {
  b.module("output", class_name, [&] {
    b.linear("dense", in_features, hidden_size, true);
    b.layer_norm("LayerNorm", hidden_size);
    b.dropout("dropout");
  });
}

void attention(ModuleBuilder& b, const BertConfig& c, std::string_view name, bool relative_positions) {
  b.module(name, "BertAttention", [&] {
    const bool is_cross_attention = name == "crossattention";
    b.module("self",
             !b.is_v5()           ? "BertSdpaSelfAttention"
             : is_cross_attention ? "BertCrossAttention"
                                  : "BertSelfAttention",
             [&] {
               b.linear("query", c.hidden_size, c.hidden_size, true);
               b.linear("key", c.hidden_size, c.hidden_size, true);
               b.linear("value", c.hidden_size, c.hidden_size, true);
               b.dropout("dropout");
               if (relative_positions && !b.is_v5())
                 b.embedding("distance_embedding", 2 * c.max_positions - 1, c.head_dim());
               if (c.is_decoder && !is_cross_attention) b.attention_cache(c.num_heads, c.head_dim());
               if (c.is_decoder && is_cross_attention) b.cross_attention_cache(c.num_heads, c.head_dim());
             });
    output(b, "BertSelfOutput", c.hidden_size, c.hidden_size);
  });
}

void layer(ModuleBuilder& b, const BertConfig& c, uint64_t i) {
  b.module(index_name(i), "BertLayer", [&] {
    attention(b, c, "attention", c.relative_positions);
    if (c.cross_attention) attention(b, c, "crossattention", false);
    b.module("intermediate", "BertIntermediate", [&] {
      b.linear("dense", c.hidden_size, c.intermediate_size, true);
      b.activation("intermediate_act_fn", c.hidden_act);
    });
    output(b, "BertOutput", c.intermediate_size, c.hidden_size);
  });
}

void bert(ModuleBuilder& b, const BertConfig& c, bool add_pooling_layer) {
  b.module("embeddings", "BertEmbeddings", [&] {
    b.embedding("word_embeddings", c.vocab_size, c.hidden_size);
    b.embedding("position_embeddings", c.max_positions, c.hidden_size);
    b.embedding("token_type_embeddings", c.type_vocab_size, c.hidden_size);
    b.layer_norm("LayerNorm", c.hidden_size);
    b.dropout("dropout");
    b.buffer("position_ids", {1, c.max_positions}, Dtype::i64, false);
    b.buffer("token_type_ids", {1, c.max_positions}, Dtype::i64, false);
  });
  b.module("encoder", "BertEncoder",
           [&] { b.list("layer", c.num_layers, [&](uint64_t i) { layer(b, c, i); }); });
  if (add_pooling_layer) {
    b.module("pooler", "BertPooler", [&] {
      b.linear("dense", c.hidden_size, c.hidden_size, true);
      b.module("activation", "Tanh");
    });
  }
}

void base_model(ModuleBuilder& b, const ModelConfig& config) { bert(b, read_config(config), true); }

void masked_lm(ModuleBuilder& b, const ModelConfig& config) {
  const BertConfig c = read_config(config);
  b.module("bert", "BertModel", [&] { bert(b, c, false); });
  b.module("cls", "BertOnlyMLMHead", [&] {
    b.module("predictions", "BertLMPredictionHead", [&] {
      b.module("transform", "BertPredictionHeadTransform", [&] {
        b.linear("dense", c.hidden_size, c.hidden_size, true);
        b.activation("transform_act_fn", c.hidden_act);
        b.layer_norm("LayerNorm", c.hidden_size);
      });
      b.linear("decoder", c.hidden_size, c.vocab_size, true);
      b.parameter("bias", {c.vocab_size});
    });
  });
  const bool tied = config.get_bool("tie_word_embeddings", true);
  if (tied || !b.is_v5()) b.tie("cls.predictions.decoder.bias", "cls.predictions.bias");
  if (tied) b.tie("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight");
}

void sequence_classification(ModuleBuilder& b, const ModelConfig& config) {
  const BertConfig c = read_config(config);
  b.module("bert", "BertModel", [&] { bert(b, c, true); });
  b.dropout("dropout");
  b.linear("classifier", c.hidden_size, config.num_labels(), true);
}

constexpr ModelClass kClasses[] = {
    {"BertForMaskedLM", "bert", masked_lm, {"BertEmbeddings", "BertLayer"}},
    {"BertModel", "bert", base_model, {"BertEmbeddings", "BertLayer"}},
    {"BertForSequenceClassification", "bert", sequence_classification, {"BertEmbeddings", "BertLayer"}},
};

}  // namespace

constexpr Architecture kBert{"bert", kClasses};

}  // namespace hfload
