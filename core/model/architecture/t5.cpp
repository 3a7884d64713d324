#include <fmt/core.h>

#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/model/architecture/registry.h"

/// T5, mT5, UMT5 and LongT5, as transformers 4.57 and 5 build them (models/t5/modeling_t5.py and its kin).
namespace hfload {
namespace {

/// What the families differ in.
struct Family {
  std::string_view prefix;  ///< of class names: "T5"
  uint64_t vocab_size, d_ff, num_layers, num_heads;
  std::string_view feed_forward_proj;
  bool tie_word_embeddings = true;  ///< the config's default in transformers 4
  bool bias_in_every_layer = false;
  /// LongT5: the encoder attends to a window, and each stack has an embedding module of its own.
  bool is_long = false;
};

constexpr Family kT5Family{"T5", 32128, 2048, 6, 8, "relu"};
constexpr Family kMt5Family{"MT5", 250112, 1024, 8, 6, "gated-gelu", false};
constexpr Family kUmt5Family{.prefix = "UMT5",
                             .vocab_size = 250112,
                             .d_ff = 1024,
                             .num_layers = 8,
                             .num_heads = 6,
                             .feed_forward_proj = "gated-gelu",
                             .bias_in_every_layer = true};
constexpr Family kLongT5Family{.prefix = "LongT5",
                               .vocab_size = 32128,
                               .d_ff = 2048,
                               .num_layers = 6,
                               .num_heads = 8,
                               .feed_forward_proj = "relu",
                               .is_long = true};

struct T5Config {
  const Family* family;
  uint64_t vocab_size, d_model, d_kv, d_ff, num_heads, num_layers, num_decoder_layers,
      relative_attention_num_buckets, num_labels;
  bool gated, transient_global, tie_word_embeddings;
  std::string activation;

  std::string class_name(std::string_view suffix) const {
    return fmt::format("{}{}", family->prefix, suffix);
  }
};

T5Config read_config(const ModelConfig& config, const Family& family) {
  T5Config c{};
  c.family = &family;
  c.vocab_size = config.get_uint("vocab_size", family.vocab_size);
  c.d_model = config.get_uint({"d_model", "hidden_size"}, 512);
  c.d_kv = config.get_uint("d_kv", 64);
  c.d_ff = config.get_uint("d_ff", family.d_ff);
  c.num_heads = config.get_uint({"num_heads", "num_attention_heads"}, family.num_heads);
  c.num_layers = config.get_count({"num_layers", "num_hidden_layers"}, family.num_layers);
  // Its default is read before the common name is put in the place of the family's own.
  c.num_decoder_layers =
      config.get_count("num_decoder_layers", config.get_count("num_layers", family.num_layers));
  c.relative_attention_num_buckets = config.get_uint("relative_attention_num_buckets", 32);
  c.tie_word_embeddings = config.get_bool("tie_word_embeddings", family.tie_word_embeddings);
  c.num_labels = config.num_labels();

  const std::string projection = config.get_string("feed_forward_proj", family.feed_forward_proj);
  const size_t dash = projection.find('-');
  c.gated = dash != std::string::npos && projection.substr(0, dash) == "gated";
  c.activation = dash == std::string::npos ? projection : projection.substr(dash + 1);
  if ((dash != std::string::npos && !c.gated) || c.activation.find('-') != std::string::npos) {
    throw Error(
        ErrorCode::invalid_config,
        fmt::format("feed_forward_proj is '{}'; it must be an activation or 'gated-' and one", projection));
  }
  if (projection == "gated-gelu") c.activation = "gelu_new";

  const std::string attention = config.get_string("encoder_attention_type", "local");
  c.transient_global = attention == "transient-global";
  if (family.is_long && !c.transient_global && attention != "local") {
    throw Error(
        ErrorCode::invalid_config,
        fmt::format("encoder_attention_type is '{}'; it must be 'local' or 'transient-global'", attention));
  }
  return c;
}

enum class Attention : uint8_t { encoder, decoder, cross };

/// The layer's attention: "SelfAttention", or LongT5's "LocalSelfAttention".
std::string_view attention_name(const T5Config& c, Attention kind) {
  if (kind == Attention::cross) return "EncDecAttention";
  if (kind == Attention::decoder || !c.family->is_long) return "SelfAttention";
  return c.transient_global ? "TransientGlobalSelfAttention" : "LocalSelfAttention";
}

void attention(ModuleBuilder& b, const T5Config& c, Attention kind, bool has_relative_attention_bias) {
  const uint64_t inner_dim = product(c.num_heads, c.d_kv);
  const bool is_windowed = c.family->is_long && kind == Attention::encoder;
  const bool is_global = is_windowed && c.transient_global;
  const auto class_name = c.class_name(is_global     ? "TransientGlobalAttention"
                                       : is_windowed ? "LocalAttention"
                                                     : "Attention");
  b.module(attention_name(c, kind), class_name, [&] {
    b.linear("q", c.d_model, inner_dim, false);
    b.linear("k", c.d_model, inner_dim, false);
    b.linear("v", c.d_model, inner_dim, false);
    b.linear("o", inner_dim, c.d_model, false);
    if (has_relative_attention_bias) {
      b.embedding("relative_attention_bias", c.relative_attention_num_buckets, c.num_heads);
      if (is_global)
        b.embedding("global_relative_attention_bias", c.relative_attention_num_buckets, c.num_heads);
    }
    if (is_global) b.rms_norm("global_input_layer_norm", c.class_name("LayerNorm"), c.d_model);
    if (kind == Attention::decoder) b.attention_cache(c.num_heads, c.d_kv);
    if (kind == Attention::cross) b.cross_attention_cache(c.num_heads, c.d_kv);
  });
}

void feed_forward(ModuleBuilder& b, const T5Config& c) {
  b.module("DenseReluDense", c.class_name(c.gated ? "DenseGatedActDense" : "DenseActDense"), [&] {
    if (c.gated) {
      b.linear("wi_0", c.d_model, c.d_ff, false);
      b.linear("wi_1", c.d_model, c.d_ff, false);
    } else {
      b.linear("wi", c.d_model, c.d_ff, false);
    }
    b.linear("wo", c.d_ff, c.d_model, false);
    b.dropout("dropout");
    b.activation("act", c.activation);
  });
}

void block(ModuleBuilder& b, const T5Config& c, uint64_t i, bool is_decoder) {
  const Attention self = is_decoder ? Attention::decoder : Attention::encoder;
  const bool has_bias = i == 0 || c.family->bias_in_every_layer;
  b.module(index_name(i), c.class_name("Block"), [&] {
    b.module("layer", "ModuleList", [&] {
      uint64_t sublayer = 0;
      const auto add_sublayer = [&](const std::string& class_name, auto&& body) {
        b.module(index_name(sublayer++), class_name, [&] {
          body();
          b.rms_norm("layer_norm", c.class_name("LayerNorm"), c.d_model);
          b.dropout("dropout");
        });
      };
      add_sublayer(c.class_name(fmt::format("Layer{}", attention_name(c, self))),
                   [&] { attention(b, c, self, has_bias); });
      if (is_decoder)
        add_sublayer(c.class_name("LayerCrossAttention"), [&] { attention(b, c, Attention::cross, false); });
      add_sublayer(c.class_name("LayerFF"), [&] { feed_forward(b, c); });
    });
  });
}

void stack(ModuleBuilder& b, const T5Config& c, std::string_view name, ModuleId shared, bool is_decoder) {
  b.module(name, c.class_name("Stack"), [&] {
    if (b.is_v5() || c.family->is_long) {
      b.embedding("embed_tokens", c.vocab_size, c.d_model);
    } else {
      b.share("embed_tokens", shared);
    }
    b.list("block", is_decoder ? c.num_decoder_layers : c.num_layers,
           [&](uint64_t i) { block(b, c, i, is_decoder); });
    b.rms_norm("final_layer_norm", c.class_name("LayerNorm"), c.d_model);
    b.dropout("dropout");
  });
}

/// Ties below `prefix`. The configs of transformers 5 set tie_word_embeddings, whatever config.json says;
/// that a checkpoint has a head of its own is found while it loads.
void tie_to_shared(ModuleBuilder& b, const T5Config& c, std::string_view prefix,
                   std::initializer_list<std::string_view> names) {
  if (!c.tie_word_embeddings && !b.is_v5()) return;
  for (const std::string_view name : names)
    b.tie(fmt::format("{}{}.weight", prefix, name), fmt::format("{}shared.weight", prefix));
}

void encoder(ModuleBuilder& b, const T5Config& c, std::string_view prefix) {
  stack(b, c, "encoder", b.embedding("shared", c.vocab_size, c.d_model), false);
  tie_to_shared(b, c, prefix, {"encoder.embed_tokens"});
}

void encoder_decoder(ModuleBuilder& b, const T5Config& c, std::string_view prefix) {
  const ModuleId shared = b.embedding("shared", c.vocab_size, c.d_model);
  stack(b, c, "encoder", shared, false);
  stack(b, c, "decoder", shared, true);
  tie_to_shared(b, c, prefix, {"encoder.embed_tokens", "decoder.embed_tokens"});
}

template <const Family& kFamily>
void base_model(ModuleBuilder& b, const ModelConfig& config) {
  encoder_decoder(b, read_config(config, kFamily), "");
}

template <const Family& kFamily>
void encoder_model(ModuleBuilder& b, const ModelConfig& config) {
  encoder(b, read_config(config, kFamily), "");
}

template <const Family& kFamily>
void conditional_generation(ModuleBuilder& b, const ModelConfig& config) {
  const T5Config c = read_config(config, kFamily);
  encoder_decoder(b, c, "");
  b.linear("lm_head", c.d_model, c.vocab_size, false);
  tie_to_shared(b, c, "", {"lm_head"});
}

template <const Family& kFamily>
void sequence_classification(ModuleBuilder& b, const ModelConfig& config) {
  const T5Config c = read_config(config, kFamily);
  b.module("transformer", c.class_name("Model"), [&] { encoder_decoder(b, c, "transformer."); });
  b.module("classification_head", c.class_name("ClassificationHead"), [&] {
    b.linear("dense", c.d_model, c.d_model, true);
    b.dropout("dropout");
    b.linear("out_proj", c.d_model, c.num_labels, true);
  });
}

template <const Family& kFamily>
void token_classification(ModuleBuilder& b, const ModelConfig& config) {
  const T5Config c = read_config(config, kFamily);
  b.module("transformer", c.class_name("EncoderModel"), [&] { encoder(b, c, "transformer."); });
  b.dropout("dropout");
  b.linear("classifier", c.d_model, c.num_labels, true);
}

template <const Family& kFamily>
void question_answering(ModuleBuilder& b, const ModelConfig& config) {
  const T5Config c = read_config(config, kFamily);
  encoder_decoder(b, c, "");
  b.linear("qa_outputs", c.d_model, c.num_labels, true);
}

constexpr NameList kCrossBias = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"};

constexpr ModelClass model_class(std::string_view name, void (*declare)(ModuleBuilder&, const ModelConfig&),
                                 std::string_view block_class, NameList ignore_unexpected = {},
                                 NameList keep_in_fp32 = {"wo"}) {
  return {.name = name,
          .base_model_prefix = "transformer",
          .declare = declare,
          .no_split_modules = {block_class},
          .keep_in_fp32 = keep_in_fp32,
          .ignore_unexpected = ignore_unexpected};
}

constexpr ModelClass kT5Classes[] = {
    {.name = "T5ForConditionalGeneration",
     .base_model_prefix = "transformer",
     .declare = conditional_generation<kT5Family>,
     .no_split_modules = {"T5Block"},
     .keep_in_fp32 = {"wo"},
     .ignore_unexpected = kCrossBias,
     .legacy_name = "T5WithLMHeadModel"},
    model_class("T5Model", base_model<kT5Family>, "T5Block", kCrossBias),
    model_class("T5EncoderModel", encoder_model<kT5Family>, "T5Block", {"decoder"}),
    model_class("T5ForSequenceClassification", sequence_classification<kT5Family>, "T5Block", kCrossBias),
    {.name = "T5ForTokenClassification",
     .base_model_prefix = "transformer",
     .declare = token_classification<kT5Family>,
     .no_split_modules = {"T5Block"},
     .keep_in_fp32 = {"wo"},
     .v5_ignore_unexpected = {{"decoder"}}},
    model_class("T5ForQuestionAnswering", question_answering<kT5Family>, "T5Block", kCrossBias),
};
constexpr ModelClass kMt5Classes[] = {
    model_class("MT5ForConditionalGeneration", conditional_generation<kMt5Family>, "MT5Block", kCrossBias),
    model_class("MT5Model", base_model<kMt5Family>, "MT5Block", kCrossBias),
    model_class("MT5EncoderModel", encoder_model<kMt5Family>, "MT5Block"),
    model_class("MT5ForSequenceClassification", sequence_classification<kMt5Family>, "MT5Block", kCrossBias),
    model_class("MT5ForTokenClassification", token_classification<kMt5Family>, "MT5Block"),
    model_class("MT5ForQuestionAnswering", question_answering<kMt5Family>, "MT5Block", kCrossBias),
};
constexpr ModelClass kUmt5Classes[] = {
    model_class("UMT5ForConditionalGeneration", conditional_generation<kUmt5Family>, "UMT5Block"),
    model_class("UMT5Model", base_model<kUmt5Family>, "UMT5Block"),
    model_class("UMT5EncoderModel", encoder_model<kUmt5Family>, "UMT5Block"),
    model_class("UMT5ForSequenceClassification", sequence_classification<kUmt5Family>, "UMT5Block",
                kCrossBias),
    model_class("UMT5ForTokenClassification", token_classification<kUmt5Family>, "UMT5Block", kCrossBias),
    model_class("UMT5ForQuestionAnswering", question_answering<kUmt5Family>, "UMT5Block"),
};
constexpr ModelClass kLongT5Classes[] = {
    model_class("LongT5ForConditionalGeneration", conditional_generation<kLongT5Family>, "LongT5Block",
                kCrossBias, {}),
    model_class("LongT5Model", base_model<kLongT5Family>, "LongT5Block", kCrossBias, {}),
    model_class("LongT5EncoderModel", encoder_model<kLongT5Family>, "LongT5Block", {"decoder"}, {}),
};

}  // namespace

constexpr Architecture kT5{"t5", kT5Classes};
constexpr Architecture kMt5{"mt5", kMt5Classes};
constexpr Architecture kUmt5{"umt5", kUmt5Classes};
constexpr Architecture kLongT5{"longt5", kLongT5Classes};

}  // namespace hfload
