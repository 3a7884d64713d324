#include <fmt/core.h>

#include <optional>
#include <string>
#include <string_view>

#include "core/model/architecture/bart_layers.h"
#include "core/model/architecture/registry.h"

/// BART, mBART, PLBart, Marian, Pegasus, M2M-100 (NLLB), Blenderbot and Blenderbot-small, as
/// transformers 4.57 and 5 build them: one skeleton, other embeddings, norms and defaults.
namespace hfload {
namespace {

enum class Positions : uint8_t {
  learned,
  learned_offset_2,   ///< the first two rows are never used
  sinusoidal_weight,  ///< a parameter that checkpoints may lack
  sinusoidal_buffer,  ///< recomputed, never saved; two rows more
};

/// What the families differ in. The last numbers are the config's defaults.
struct Family {
  std::string_view prefix;  ///< of class names: "Bart"
  Positions positions;
  bool scaled_embedding;  ///< word embeddings are of the family's own class
  bool layernorm_embedding, final_norm;
  /// In transformers 4: the stacks hold the shared embedding module itself, tied or not.
  bool shares_module;
  uint64_t vocab_size, d_model, encoder_layers, decoder_layers, ffn_dim, num_heads, max_positions;
  std::string_view activation = "gelu";
  uint64_t num_labels = 2;
};

using enum Positions;
constexpr Family kBartFamily{
    "Bart", learned_offset_2, true, true, false, false, 50265, 1024, 12, 12, 4096, 16, 1024, "gelu", 3};
constexpr Family kMbartFamily{
    "MBart", learned_offset_2, true, true, true, false, 50265, 1024, 12, 12, 4096, 16, 1024};
constexpr Family kPlbartFamily{
    "PLBart", learned_offset_2, true, true, false, false, 50005, 768, 6, 6, 3072, 12, 1024};
constexpr Family kMarianFamily{
    "Marian", sinusoidal_weight, false, false, false, true, 58101, 1024, 12, 12, 4096, 16, 1024};
constexpr Family kPegasusFamily{
    "Pegasus", sinusoidal_weight, false, false, true, true, 50265, 1024, 12, 12, 4096, 16, 1024};
constexpr Family kM2m100Family{
    "M2M100", sinusoidal_buffer, true, false, true, false, 128112, 1024, 12, 12, 4096, 16, 1024, "relu"};
constexpr Family kBlenderbotFamily{"Blenderbot", learned, true, false, true, true, 8008,
                                   2560,         2,       24,   10240, 32,   128};
constexpr Family kBlenderbotSmallFamily{
    "BlenderbotSmall", learned, false, true, false, true, 50265, 512, 8, 8, 2048, 16, 512};

struct BartConfig {
  const Family* family;
  uint64_t vocab_size, decoder_vocab_size, d_model, encoder_layers, decoder_layers, encoder_ffn_dim,
      decoder_ffn_dim, encoder_heads, decoder_heads, max_positions, num_labels;
  bool shares_embeddings;  ///< of encoder and decoder; only Marian can do without
  bool tie_word_embeddings;
  std::string activation;

  std::string class_name(std::string_view suffix) const {
    return fmt::format("{}{}", family->prefix, suffix);
  }
};

BartConfig read_config(const ModelConfig& config, const Family& family) {
  BartConfig c{};
  c.family = &family;
  c.vocab_size = config.get_uint("vocab_size", family.vocab_size);
  c.d_model = config.get_uint({"d_model", "hidden_size"}, family.d_model);
  c.encoder_layers = config.get_count("encoder_layers", family.encoder_layers);
  c.decoder_layers = config.get_count("decoder_layers", family.decoder_layers);
  c.encoder_ffn_dim = config.get_uint("encoder_ffn_dim", family.ffn_dim);
  c.decoder_ffn_dim = config.get_uint("decoder_ffn_dim", family.ffn_dim);
  c.encoder_heads = config.get_uint({"encoder_attention_heads", "num_attention_heads"}, family.num_heads);
  c.decoder_heads = config.get_uint("decoder_attention_heads", family.num_heads);
  c.max_positions = config.get_uint("max_position_embeddings", family.max_positions);
  c.activation = config.get_string("activation_function", family.activation);
  c.tie_word_embeddings = config.get_bool("tie_word_embeddings", true);
  const auto is_set = [&](std::string_view key) {
    const ConfigValue* value = config.find(key);
    return value != nullptr && !value->is_null();
  };
  c.num_labels = is_set("id2label") || is_set("num_labels") ? config.num_labels() : family.num_labels;
  c.shares_embeddings = true;
  c.decoder_vocab_size = c.vocab_size;
  if (&family == &kMarianFamily) {
    c.shares_embeddings = config.get_bool("share_encoder_decoder_embeddings", true);
    c.decoder_vocab_size = config.get_uint("decoder_vocab_size", 0);
    if (c.decoder_vocab_size == 0) c.decoder_vocab_size = c.vocab_size;
  }
  return c;
}

ModuleId word_embedding(ModuleBuilder& b, const BartConfig& c, std::string_view name, uint64_t vocab_size) {
  if (!c.family->scaled_embedding) return b.embedding(name, vocab_size, c.d_model);
  return b.module(name, c.class_name("ScaledWordEmbedding"), [&] {
    b.parameter("weight", {vocab_size, c.d_model});
  });
}

void positions(ModuleBuilder& b, const BartConfig& c) {
  const Positions kind = c.family->positions;
  const bool is_learned = kind == learned || kind == learned_offset_2;
  b.module("embed_positions",
           c.class_name(is_learned ? "LearnedPositionalEmbedding" : "SinusoidalPositionalEmbedding"), [&] {
             const bool has_offset = kind == learned_offset_2 || kind == sinusoidal_buffer;
             const uint64_t rows = c.max_positions + (has_offset ? 2 : 0);
             if (kind == sinusoidal_buffer) {
               b.buffer("weights", {rows, c.d_model}, b.default_dtype(), false);
             } else {
               b.parameter("weight", {rows, c.d_model});
             }
           });
}

/// `shared` is the embedding that the stack holds too, or kNoId for one of its own.
void stack(ModuleBuilder& b, const BartConfig& c, bool is_decoder, ModuleId shared, bool has_source = true) {
  b.module(is_decoder ? "decoder" : "encoder", c.class_name(is_decoder ? "Decoder" : "Encoder"), [&] {
    if (shared != kNoId) {
      b.share("embed_tokens", shared);
    } else {
      word_embedding(b, c, "embed_tokens", is_decoder ? c.decoder_vocab_size : c.vocab_size);
    }
    positions(b, c);
    b.list("layers", is_decoder ? c.decoder_layers : c.encoder_layers, [&](uint64_t i) {
      if (is_decoder) {
        bart::decoder_layer(b, i,
                            {c.family->prefix, c.d_model, c.decoder_ffn_dim, c.decoder_heads, c.activation},
                            has_source ? std::optional<uint64_t>(0) : std::nullopt);
      } else {
        bart::encoder_layer(b, i,
                            {c.family->prefix, c.d_model, c.encoder_ffn_dim, c.encoder_heads, c.activation});
      }
    });
    if (c.family->layernorm_embedding) b.layer_norm("layernorm_embedding", c.d_model);
    if (c.family->final_norm) b.layer_norm("layer_norm", c.d_model);
  });
}

/// The base model's children in the open module, which `prefix` names ("model." or nothing).
void encoder_decoder(ModuleBuilder& b, BartConfig c, std::string_view prefix) {
  ModuleId shared = kNoId;
  if (c.shares_embeddings) {
    shared = word_embedding(b, c, "shared", c.vocab_size);
  } else if (!b.is_v5()) {
    // Both embeddings are copies of one, whatever decoder_vocab_size is.
    c.decoder_vocab_size = c.vocab_size;
  }
  const ModuleId held = c.family->shares_module && !b.is_v5() ? shared : kNoId;
  stack(b, c, false, held);
  stack(b, c, true, held);
  if (!c.shares_embeddings || !c.tie_word_embeddings) return;
  for (const std::string_view name : {"encoder", "decoder"})
    b.tie(fmt::format("{}{}.embed_tokens.weight", prefix, name), fmt::format("{}shared.weight", prefix));
}

void wrapped_model(ModuleBuilder& b, const BartConfig& c) {
  b.module("model", c.class_name("Model"), [&] { encoder_decoder(b, c, "model."); });
}

template <const Family& kFamily>
void base_model(ModuleBuilder& b, const ModelConfig& config) {
  encoder_decoder(b, read_config(config, kFamily), "");
}

template <const Family& kFamily>
void conditional_generation(ModuleBuilder& b, const ModelConfig& config) {
  const BartConfig c = read_config(config, kFamily);
  const uint64_t target_vocab_size = c.shares_embeddings ? c.vocab_size : c.decoder_vocab_size;
  wrapped_model(b, c);
  if (&kFamily != &kM2m100Family)
    b.buffer("final_logits_bias", {1, target_vocab_size}, b.default_dtype(), true);
  b.linear("lm_head", c.d_model, target_vocab_size, false);
  if (c.tie_word_embeddings) {
    b.tie("lm_head.weight",
          c.shares_embeddings ? "model.shared.weight" : "model.decoder.embed_tokens.weight");
  }
}

template <const Family& kFamily>
void sequence_classification(ModuleBuilder& b, const ModelConfig& config) {
  const BartConfig c = read_config(config, kFamily);
  wrapped_model(b, c);
  b.module("classification_head", c.class_name("ClassificationHead"), [&] {
    b.linear("dense", c.d_model, c.d_model, true);
    b.dropout("dropout");
    b.linear("out_proj", c.d_model, c.num_labels, true);
  });
}

template <const Family& kFamily>
void question_answering(ModuleBuilder& b, const ModelConfig& config) {
  const BartConfig c = read_config(config, kFamily);
  wrapped_model(b, c);
  b.linear("qa_outputs", c.d_model, 2, true);
}

/// The decoder alone, without a source to attend to.
template <const Family& kFamily>
void causal_lm(ModuleBuilder& b, const ModelConfig& config) {
  const BartConfig c = read_config(config, kFamily);
  b.module("model", c.class_name("DecoderWrapper"), [&] { stack(b, c, true, kNoId, false); });
  b.linear("lm_head", c.d_model, c.vocab_size, false);
  if (c.tie_word_embeddings) b.tie("lm_head.weight", "model.decoder.embed_tokens.weight");
}

constexpr NameList kLogitsBias = {"final_logits_bias"};

constexpr ModelClass model_class(std::string_view name, void (*declare)(ModuleBuilder&, const ModelConfig&),
                                 NameList no_split_modules, NameList ignore_missing = {},
                                 NameList ignore_unexpected = {}) {
  return {.name = name,
          .base_model_prefix = "model",
          .declare = declare,
          .no_split_modules = no_split_modules,
          .ignore_missing = ignore_missing,
          .ignore_unexpected = ignore_unexpected};
}

constexpr NameList kBartLayers = {"BartEncoderLayer", "BartDecoderLayer"};
constexpr NameList kBartVersions = {"encoder.version", "decoder.version"};
constexpr ModelClass kBartClasses[] = {
    model_class("BartForConditionalGeneration", conditional_generation<kBartFamily>, kBartLayers, kLogitsBias,
                kBartVersions),
    model_class("BartModel", base_model<kBartFamily>, kBartLayers, {}, kBartVersions),
    model_class("BartForSequenceClassification", sequence_classification<kBartFamily>, kBartLayers, {},
                kBartVersions),
    model_class("BartForQuestionAnswering", question_answering<kBartFamily>, kBartLayers, {}, kBartVersions),
    model_class("BartForCausalLM", causal_lm<kBartFamily>, kBartLayers, {}, kBartVersions),
};

constexpr NameList kMbartLayers = {"MBartDecoderLayer", "MBartEncoderLayer", "MBartAttention"};
constexpr ModelClass kMbartClasses[] = {
    model_class("MBartForConditionalGeneration", conditional_generation<kMbartFamily>, kMbartLayers,
                kLogitsBias),
    model_class("MBartModel", base_model<kMbartFamily>, kMbartLayers),
    model_class("MBartForSequenceClassification", sequence_classification<kMbartFamily>, kMbartLayers),
    model_class("MBartForQuestionAnswering", question_answering<kMbartFamily>, kMbartLayers),
    model_class("MBartForCausalLM", causal_lm<kMbartFamily>, kMbartLayers),
};

constexpr NameList kPlbartLayers = {"PLBartDecoderLayer", "PLBartEncoderLayer"};
constexpr ModelClass kPlbartClasses[] = {
    model_class("PLBartForConditionalGeneration", conditional_generation<kPlbartFamily>, kPlbartLayers,
                kLogitsBias),
    model_class("PLBartModel", base_model<kPlbartFamily>, kPlbartLayers),
    model_class("PLBartForSequenceClassification", sequence_classification<kPlbartFamily>, kPlbartLayers),
    model_class("PLBartForCausalLM", causal_lm<kPlbartFamily>, kPlbartLayers),
};

constexpr NameList kMarianPositions = {"model.encoder.embed_positions.weight",
                                       "model.decoder.embed_positions.weight"};
constexpr ModelClass kMarianClasses[] = {
    {.name = "MarianMTModel",
     .base_model_prefix = "model",
     .declare = conditional_generation<kMarianFamily>,
     .ignore_missing = {"final_logits_bias", "encoder.embed_positions.weight",
                        "decoder.embed_positions.weight"},
     .v5_ignore_missing = {{"final_logits_bias", "model.encoder.embed_positions.weight",
                            "model.decoder.embed_positions.weight"}}},
    {.name = "MarianModel",
     .base_model_prefix = "model",
     .declare = base_model<kMarianFamily>,
     .v5_ignore_missing = kMarianPositions},
    model_class("MarianForCausalLM", causal_lm<kMarianFamily>, {}),
};

constexpr ModelClass kPegasusClasses[] = {
    model_class("PegasusForConditionalGeneration", conditional_generation<kPegasusFamily>, {}, kLogitsBias),
    model_class("PegasusModel", base_model<kPegasusFamily>, {}),
    model_class("PegasusForCausalLM", causal_lm<kPegasusFamily>, {}),
};

constexpr NameList kM2m100Layers = {"M2M100EncoderLayer", "M2M100DecoderLayer"};
constexpr ModelClass kM2m100Classes[] = {
    model_class("M2M100ForConditionalGeneration", conditional_generation<kM2m100Family>, kM2m100Layers),
    model_class("M2M100Model", base_model<kM2m100Family>, kM2m100Layers),
};

constexpr ModelClass kBlenderbotClasses[] = {
    model_class("BlenderbotForConditionalGeneration", conditional_generation<kBlenderbotFamily>, {},
                kLogitsBias),
    model_class("BlenderbotModel", base_model<kBlenderbotFamily>, {}),
    model_class("BlenderbotForCausalLM", causal_lm<kBlenderbotFamily>, {}),
};

constexpr ModelClass kBlenderbotSmallClasses[] = {
    model_class("BlenderbotSmallForConditionalGeneration", conditional_generation<kBlenderbotSmallFamily>, {},
                kLogitsBias),
    model_class("BlenderbotSmallModel", base_model<kBlenderbotSmallFamily>, {}),
    model_class("BlenderbotSmallForCausalLM", causal_lm<kBlenderbotSmallFamily>, {}),
};

}  // namespace

constexpr Architecture kBart{"bart", kBartClasses};
constexpr Architecture kBlenderbot{"blenderbot", kBlenderbotClasses};
constexpr Architecture kBlenderbotSmall{"blenderbot-small", kBlenderbotSmallClasses};
constexpr Architecture kM2m100{"m2m_100", kM2m100Classes};
constexpr Architecture kMarian{"marian", kMarianClasses};
constexpr Architecture kMbart{"mbart", kMbartClasses};
constexpr Architecture kPegasus{"pegasus", kPegasusClasses};
constexpr Architecture kPlbart{"plbart", kPlbartClasses};

}  // namespace hfload
