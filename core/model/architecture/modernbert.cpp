#include <fmt/core.h>

#include <string>

#include "core/base/error.h"
#include "core/model/architecture/registry.h"

/// ModernBERT, as transformers 4.57 models/modernbert/modeling_modernbert.py builds it.
namespace hfload {
namespace {

struct ModernBertConfig {
  uint64_t vocab_size, hidden_size, intermediate_size, num_layers, num_frequencies;
  bool norm_bias, attention_bias, mlp_bias, has_attention_dropout, has_full_layers, has_sliding_layers;
  std::string hidden_act;
};

/// Which kinds of layers there are: transformers 5 keeps the rotary frequencies of each once.
void read_layer_types(const ModelConfig& config, ModernBertConfig& c) {
  if (const auto types = config.get_strings("layer_types")) {
    for (const std::string& type : *types) {
      if (type != "full_attention" && type != "sliding_attention")
        throw Error(ErrorCode::invalid_config, fmt::format("unknown layer type '{}'", type));
      (type == "full_attention" ? c.has_full_layers : c.has_sliding_layers) = true;
    }
    return;
  }
  const uint64_t period = config.get_uint("global_attn_every_n_layers", 3);
  if (period == 0) throw Error(ErrorCode::invalid_config, "global_attn_every_n_layers is 0");
  c.has_full_layers = c.num_layers > 0;
  c.has_sliding_layers = c.num_layers > 1 && period > 1;
}

ModernBertConfig read_config(const ModelConfig& config) {
  ModernBertConfig c{};
  c.vocab_size = config.get_uint("vocab_size", 50368);
  c.hidden_size = config.get_uint("hidden_size", 768);
  c.intermediate_size = config.get_uint("intermediate_size", 1152);
  c.num_layers = config.get_count("num_hidden_layers", 22);
  c.norm_bias = config.get_bool("norm_bias", false);
  c.attention_bias = config.get_bool("attention_bias", false);
  c.mlp_bias = config.get_bool("mlp_bias", false);
  c.has_attention_dropout = config.get_double("attention_dropout", 0) > 0;
  c.hidden_act = config.get_string("hidden_activation", "gelu");
  const uint64_t num_heads = config.get_uint("num_attention_heads", 12);
  if (num_heads == 0 || c.hidden_size % num_heads != 0) {
    throw Error(
        ErrorCode::invalid_config,
        fmt::format("hidden_size {} is no multiple of num_attention_heads {}", c.hidden_size, num_heads));
  }
  c.num_frequencies = (c.hidden_size / num_heads + 1) / 2;
  read_layer_types(config, c);
  return c;
}

void norm(ModuleBuilder& b, const ModernBertConfig& c, std::string_view name) {
  b.module(name, "LayerNorm", [&] {
    b.parameter("weight", {c.hidden_size});
    if (c.norm_bias) b.parameter("bias", {c.hidden_size});
  });
}

void layer(ModuleBuilder& b, const ModernBertConfig& c, uint64_t i) {
  b.module(index_name(i), "ModernBertEncoderLayer", [&] {
    if (i == 0) {
      b.module("attn_norm", "Identity");
    } else {
      norm(b, c, "attn_norm");
    }
    b.module("attn", "ModernBertAttention", [&] {
      b.linear("Wqkv", c.hidden_size, 3 * c.hidden_size, c.attention_bias);
      if (!b.is_v5()) b.rotary_embedding("rotary_emb", "ModernBertRotaryEmbedding", c.num_frequencies);
      b.linear("Wo", c.hidden_size, c.hidden_size, c.attention_bias);
      b.module("out_drop", c.has_attention_dropout ? "Dropout" : "Identity");
    });
    norm(b, c, "mlp_norm");
    b.module("mlp", "ModernBertMLP", [&] {
      b.linear("Wi", c.hidden_size, 2 * c.intermediate_size, c.mlp_bias);
      b.activation("act", c.hidden_act);
      b.dropout("drop");
      b.linear("Wo", c.intermediate_size, c.hidden_size, c.mlp_bias);
    });
  });
}

void rotary_embedding_of_v5(ModuleBuilder& b, const ModernBertConfig& c) {
  b.module("rotary_emb", "ModernBertRotaryEmbedding", [&] {
    const auto frequencies = [&](std::string_view name) {
      b.buffer(name, {c.num_frequencies}, Dtype::f32, false);
    };
    if (c.has_full_layers) {
      frequencies("full_attention_inv_freq");
      frequencies("full_attention_original_inv_freq");
    }
    if (c.has_sliding_layers) {
      frequencies("sliding_attention_inv_freq");
      frequencies("sliding_attention_original_inv_freq");
    }
  });
}

void modernbert(ModuleBuilder& b, const ModernBertConfig& c) {
  b.module("embeddings", "ModernBertEmbeddings", [&] {
    b.embedding("tok_embeddings", c.vocab_size, c.hidden_size);
    norm(b, c, "norm");
    b.dropout("drop");
  });
  b.list("layers", c.num_layers, [&](uint64_t i) { layer(b, c, i); });
  norm(b, c, "final_norm");
  if (b.is_v5()) rotary_embedding_of_v5(b, c);
}

void base_model(ModuleBuilder& b, const ModelConfig& config) { modernbert(b, read_config(config)); }

/// The base model and `head`, which all of the heads have first.
ModernBertConfig with_prediction_head(ModuleBuilder& b, const ModelConfig& config) {
  ModernBertConfig c = read_config(config);
  b.module("model", "ModernBertModel", [&] { modernbert(b, c); });
  b.module("head", "ModernBertPredictionHead", [&] {
    b.linear("dense", c.hidden_size, c.hidden_size, config.get_bool("classifier_bias", false));
    b.activation("act", config.get_string("classifier_activation", "gelu"));
    norm(b, c, "norm");
  });
  return c;
}

void masked_lm(ModuleBuilder& b, const ModelConfig& config) {
  const ModernBertConfig c = with_prediction_head(b, config);
  b.linear("decoder", c.hidden_size, c.vocab_size, config.get_bool("decoder_bias", true));
  if (config.get_bool("tie_word_embeddings", true))
    b.tie("decoder.weight", "model.embeddings.tok_embeddings.weight");
}

void classifier(ModuleBuilder& b, const ModelConfig& config, uint64_t num_labels) {
  const ModernBertConfig c = with_prediction_head(b, config);
  b.dropout("drop");
  b.linear("classifier", c.hidden_size, num_labels, true);
}

void classification(ModuleBuilder& b, const ModelConfig& config) {
  classifier(b, config, config.num_labels());
}

void multiple_choice(ModuleBuilder& b, const ModelConfig& config) { classifier(b, config, 1); }

constexpr NameList kNoSplit = {"ModernBertEmbeddings", "ModernBertEncoderLayer"};
constexpr ModelClass kClasses[] = {
    {"ModernBertForMaskedLM", "model", masked_lm, kNoSplit},
    {"ModernBertModel", "model", base_model, kNoSplit},
    {"ModernBertForSequenceClassification", "model", classification, kNoSplit},
    {"ModernBertForTokenClassification", "model", classification, kNoSplit},
    {"ModernBertForQuestionAnswering", "model", classification, kNoSplit},
    {"ModernBertForMultipleChoice", "model", multiple_choice, kNoSplit},
};

}  // namespace

constexpr Architecture kModernBert{"modernbert", kClasses};

}  // namespace hfload
