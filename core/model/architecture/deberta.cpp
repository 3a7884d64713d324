#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/model/architecture/registry.h"

/// DeBERTa and DeBERTa-v2 (which is v3 too), as transformers 4.57 models/deberta/modeling_deberta.py and
/// models/deberta_v2/modeling_deberta_v2.py build them.
namespace hfload {
namespace {

struct DebertaConfig {
  bool is_v2;
  uint64_t vocab_size, embedding_size, hidden_size, intermediate_size, num_layers, num_heads, head_dim,
      max_positions, type_vocab_size, relative_positions;
  bool relative_attention, content_to_position, position_to_content, position_biased_input;
  std::string hidden_act;

  std::string class_name(std::string_view part) const {
    return fmt::format("Deberta{}{}", is_v2 ? "V2" : "", part);
  }
};

/// "C2P | p2c" as the options "c2p" and "p2c".
std::vector<std::string> split_options(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  std::erase_if(text, [](unsigned char c) { return std::isspace(c) != 0; });
  std::vector<std::string> options;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('|', begin), text.size());
    options.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return options;
}

/// A size that is -1 where another takes its place.
uint64_t positive_or(const ModelConfig& config, std::string_view key, uint64_t fallback) {
  return config.get_double(key, -1) < 1 ? fallback : config.get_uint(key, fallback);
}

DebertaConfig read_config(const ModelConfig& config, bool is_v2) {
  DebertaConfig c{};
  c.is_v2 = is_v2;
  c.vocab_size = config.get_uint("vocab_size", is_v2 ? 128100 : 50265);
  c.hidden_size = config.get_uint("hidden_size", is_v2 ? 1536 : 768);
  c.embedding_size = config.get_uint("embedding_size", c.hidden_size);
  c.intermediate_size = config.get_uint("intermediate_size", is_v2 ? 6144 : 3072);
  c.num_layers = config.get_count("num_hidden_layers", is_v2 ? 24 : 12);
  c.num_heads = config.get_uint("num_attention_heads", is_v2 ? 24 : 12);
  c.max_positions = config.get_uint("max_position_embeddings", 512);
  c.type_vocab_size = config.get_uint("type_vocab_size", 0);
  c.relative_attention = config.get_bool("relative_attention", false);
  c.position_biased_input = config.get_bool("position_biased_input", true);
  c.hidden_act = config.get_string("hidden_act", "gelu");
  if (c.num_heads == 0 || c.hidden_size % c.num_heads != 0) {
    throw Error(
        ErrorCode::invalid_config,
        fmt::format("hidden_size {} is no multiple of num_attention_heads {}", c.hidden_size, c.num_heads));
  }
  c.head_dim = c.hidden_size / c.num_heads;
  if (is_v2) c.head_dim = config.get_uint("attention_head_size", c.head_dim);

  c.relative_positions = positive_or(config, "max_relative_positions", c.max_positions);
  if (is_v2) c.relative_positions = positive_or(config, "position_buckets", c.relative_positions);
  const ConfigValue* types = config.find("pos_att_type");
  const bool is_list = types != nullptr && std::holds_alternative<ConfigValue::Array>(types->value);
  const std::vector<std::string> options = is_list ? config.get_strings("pos_att_type").value()
                                                   : split_options(config.get_string("pos_att_type", ""));
  const bool has_projections = c.relative_attention && !(is_v2 && config.get_bool("share_att_key", false));
  c.content_to_position = has_projections && std::ranges::find(options, "c2p") != options.end();
  c.position_to_content = has_projections && std::ranges::find(options, "p2c") != options.end();
  return c;
}

/// The norm that DeBERTa has its own class for, and DeBERTa-v2 has not.
void norm(ModuleBuilder& b, const DebertaConfig& c) {
  b.module("LayerNorm", c.is_v2 ? "LayerNorm" : "DebertaLayerNorm", [&] {
    b.parameter("weight", {c.hidden_size});
    b.parameter("bias", {c.hidden_size});
  });
}

void self_attention(ModuleBuilder& b, const DebertaConfig& c, bool has_talking_heads) {
  const uint64_t all_heads = product(c.num_heads, c.head_dim);
  b.module("self", "DisentangledSelfAttention", [&] {
    if (c.is_v2) {
      for (const char* name : {"query_proj", "key_proj", "value_proj"})
        b.linear(name, c.hidden_size, all_heads, true);
    } else {
      // These two are made in float32 whatever the model's dtype is.
      b.parameter("q_bias", {all_heads}, Dtype::f32);
      b.parameter("v_bias", {all_heads}, Dtype::f32);
      b.linear("in_proj", c.hidden_size, 3 * all_heads, false);
      if (has_talking_heads) {
        b.linear("head_logits_proj", c.num_heads, c.num_heads, false);
        b.linear("head_weights_proj", c.num_heads, c.num_heads, false);
      }
    }
    if (c.relative_attention) b.dropout("pos_dropout");
    if (c.content_to_position)
      b.linear(c.is_v2 ? "pos_key_proj" : "pos_proj", c.hidden_size, all_heads, c.is_v2);
    if (c.position_to_content)
      b.linear(c.is_v2 ? "pos_query_proj" : "pos_q_proj", c.hidden_size, all_heads, true);
    b.dropout("dropout");
  });
}

void output(ModuleBuilder& b, const DebertaConfig& c, std::string_view part, uint64_t in_features) {
  b.module("output", c.class_name(part), [&] {
    b.linear("dense", in_features, c.hidden_size, true);
    norm(b, c);
    b.dropout("dropout");
  });
}

void layer(ModuleBuilder& b, const DebertaConfig& c, uint64_t i, bool has_talking_heads) {
  b.module(index_name(i), c.class_name("Layer"), [&] {
    b.module("attention", c.class_name("Attention"), [&] {
      self_attention(b, c, has_talking_heads);
      output(b, c, "SelfOutput", c.hidden_size);
    });
    b.module("intermediate", c.class_name("Intermediate"), [&] {
      b.linear("dense", c.hidden_size, c.intermediate_size, true);
      b.activation("intermediate_act_fn", c.hidden_act);
    });
    output(b, c, "Output", c.intermediate_size);
  });
}

void convolution(ModuleBuilder& b, const DebertaConfig& c, const ModelConfig& config, uint64_t kernel_size) {
  const uint64_t groups = config.get_uint("conv_groups", 1);
  if (groups == 0 || c.hidden_size % groups != 0)
    throw Error(ErrorCode::invalid_config, "hidden_size is no multiple of conv_groups");
  b.module("conv", "ConvLayer", [&] {
    b.module("conv", "Conv1d", [&] {
      b.parameter("weight", {c.hidden_size, c.hidden_size / groups, kernel_size});
      b.parameter("bias", {c.hidden_size});
    });
    norm(b, c);
    b.dropout("dropout");
  });
}

void deberta(ModuleBuilder& b, const DebertaConfig& c, const ModelConfig& config) {
  b.module("embeddings", c.class_name("Embeddings"), [&] {
    b.embedding("word_embeddings", c.vocab_size, c.embedding_size);
    if (c.position_biased_input) b.embedding("position_embeddings", c.max_positions, c.embedding_size);
    if (c.type_vocab_size > 0) b.embedding("token_type_embeddings", c.type_vocab_size, c.embedding_size);
    if (c.embedding_size != c.hidden_size) b.linear("embed_proj", c.embedding_size, c.hidden_size, false);
    norm(b, c);
    b.dropout("dropout");
    b.buffer("position_ids", {1, c.max_positions}, Dtype::i64, false);
  });
  const bool has_talking_heads = config.get_bool("talking_head", false);
  b.module("encoder", c.class_name("Encoder"), [&] {
    b.list("layer", c.num_layers, [&](uint64_t i) { layer(b, c, i, has_talking_heads); });
    if (c.relative_attention) b.embedding("rel_embeddings", 2 * c.relative_positions, c.hidden_size);
    if (!c.is_v2) return;
    const auto norms = split_options(config.get_string("norm_rel_ebd", "none"));
    if (std::ranges::find(norms, "layer_norm") != norms.end()) norm(b, c);
    if (const uint64_t kernel_size = positive_or(config, "conv_kernel_size", 0); kernel_size > 0)
      convolution(b, c, config, kernel_size);
  });
}

/// Declares the base model as a head has it, and returns its config.
DebertaConfig with_base(ModuleBuilder& b, const ModelConfig& config, bool is_v2) {
  DebertaConfig c = read_config(config, is_v2);
  b.module("deberta", c.class_name("Model"), [&] { deberta(b, c, config); });
  return c;
}

template <bool kIsV2>
void base_model(ModuleBuilder& b, const ModelConfig& config) {
  deberta(b, read_config(config, kIsV2), config);
}

void legacy_lm_head(ModuleBuilder& b, const DebertaConfig& c, bool is_tied) {
  const auto class_name = [&](std::string_view part) { return "Legacy" + c.class_name(part); };
  b.module("cls", class_name("OnlyMLMHead"), [&] {
    b.module("predictions", class_name("LMPredictionHead"), [&] {
      b.module("transform", class_name("PredictionHeadTransform"), [&] {
        b.linear("dense", c.hidden_size, c.embedding_size, true);
        b.activation("transform_act_fn", c.hidden_act);
        b.layer_norm("LayerNorm", c.embedding_size);
      });
      b.linear("decoder", c.embedding_size, c.vocab_size, true);
      b.parameter("bias", {c.vocab_size});
    });
  });
  if (is_tied || !b.is_v5()) b.tie("cls.predictions.decoder.bias", "cls.predictions.bias");
  if (is_tied) b.tie("cls.predictions.decoder.weight", "deberta.embeddings.word_embeddings.weight");
}

template <bool kIsV2>
void masked_lm(ModuleBuilder& b, const ModelConfig& config) {
  const DebertaConfig c = with_base(b, config, kIsV2);
  const bool is_tied = config.get_bool("tie_word_embeddings", true);
  if (config.get_bool("legacy", true)) return legacy_lm_head(b, c, is_tied);
  // Transformers 4.57 ties `dense`, which is no output embedding, and pads its bias to that size.
  const bool is_dense_tied = is_tied && !b.is_v5();
  b.module("lm_predictions", c.class_name("OnlyMLMHead"), [&] {
    b.module("lm_head", c.class_name("LMPredictionHead"), [&] {
      b.parameter("bias", {c.vocab_size});
      b.module("dense", "Linear", [&] {
        b.parameter("weight", {c.hidden_size, c.hidden_size});
        b.parameter("bias", {is_dense_tied ? c.vocab_size : c.hidden_size});
      });
      b.activation("transform_act_fn", c.hidden_act);
      b.layer_norm("LayerNorm", c.hidden_size);
    });
  });
  if (is_dense_tied)
    b.tie("lm_predictions.lm_head.dense.weight", "deberta.embeddings.word_embeddings.weight");
}

void pooled_classifier(ModuleBuilder& b, const ModelConfig& config, bool is_v2, uint64_t num_labels) {
  const DebertaConfig c = with_base(b, config, is_v2);
  const uint64_t pooler_size = config.get_uint("pooler_hidden_size", c.hidden_size);
  b.module("pooler", "ContextPooler", [&] {
    b.linear("dense", pooler_size, pooler_size, true);
    b.dropout("dropout");
  });
  b.linear("classifier", c.hidden_size, num_labels, true);
  b.dropout("dropout");
}

template <bool kIsV2>
void sequence_classification(ModuleBuilder& b, const ModelConfig& config) {
  pooled_classifier(b, config, kIsV2, config.num_labels());
}

void multiple_choice(ModuleBuilder& b, const ModelConfig& config) { pooled_classifier(b, config, true, 1); }

template <bool kIsV2>
void token_classification(ModuleBuilder& b, const ModelConfig& config) {
  const DebertaConfig c = with_base(b, config, kIsV2);
  b.dropout("dropout");
  b.linear("classifier", c.hidden_size, config.num_labels(), true);
}

template <bool kIsV2>
void question_answering(ModuleBuilder& b, const ModelConfig& config) {
  const DebertaConfig c = with_base(b, config, kIsV2);
  b.linear("qa_outputs", c.hidden_size, config.num_labels(), true);
}

constexpr NameList kUnexpected = {"position_embeddings"};
constexpr ModelClass deberta_class(std::string_view name,
                                   void (*declare)(ModuleBuilder& b, const ModelConfig& config)) {
  return {.name = name, .base_model_prefix = "deberta", .declare = declare, .ignore_unexpected = kUnexpected};
}

constexpr ModelClass kClasses[] = {
    deberta_class("DebertaForMaskedLM", masked_lm<false>),
    deberta_class("DebertaModel", base_model<false>),
    deberta_class("DebertaForSequenceClassification", sequence_classification<false>),
    deberta_class("DebertaForTokenClassification", token_classification<false>),
    deberta_class("DebertaForQuestionAnswering", question_answering<false>),
};

constexpr ModelClass kV2Classes[] = {
    {.name = "DebertaV2ForMaskedLM",
     .base_model_prefix = "deberta",
     .declare = masked_lm<true>,
     .ignore_unexpected = {"mask_predictions.*"},
     .v5_ignore_unexpected = {{"mask_predictions.*", "position_embeddings"}}},
    deberta_class("DebertaV2Model", base_model<true>),
    deberta_class("DebertaV2ForSequenceClassification", sequence_classification<true>),
    deberta_class("DebertaV2ForTokenClassification", token_classification<true>),
    deberta_class("DebertaV2ForQuestionAnswering", question_answering<true>),
    deberta_class("DebertaV2ForMultipleChoice", multiple_choice),
};

}  // namespace

constexpr Architecture kDeberta{"deberta", kClasses};
constexpr Architecture kDebertaV2{"deberta-v2", kV2Classes};

}  // namespace hfload
