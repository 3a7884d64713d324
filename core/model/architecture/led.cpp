#include <fmt/core.h>

#include <string>
#include <string_view>

#include "core/model/architecture/bart_layers.h"
#include "core/model/architecture/registry.h"

/// LED (Longformer encoder-decoder), as transformers 4.57 models/led/modeling_led.py builds it.
namespace hfload {
namespace {

struct LedConfig {
  uint64_t vocab_size, d_model, encoder_layers, decoder_layers, encoder_ffn_dim, decoder_ffn_dim,
      encoder_heads, decoder_heads, max_encoder_positions, max_decoder_positions;
  bool tie_word_embeddings;
  std::string activation;
};

LedConfig read_config(const ModelConfig& config) {
  LedConfig c{};
  c.vocab_size = config.get_uint("vocab_size", 50265);
  c.d_model = config.get_uint({"d_model", "hidden_size"}, 1024);
  c.encoder_layers = config.get_count("encoder_layers", 12);
  c.decoder_layers = config.get_count("decoder_layers", 12);
  c.encoder_ffn_dim = config.get_uint("encoder_ffn_dim", 4096);
  c.decoder_ffn_dim = config.get_uint("decoder_ffn_dim", 4096);
  c.encoder_heads = config.get_uint({"encoder_attention_heads", "num_attention_heads"}, 16);
  c.decoder_heads = config.get_uint("decoder_attention_heads", 16);
  c.max_encoder_positions = config.get_uint("max_encoder_position_embeddings", 16384);
  c.max_decoder_positions = config.get_uint("max_decoder_position_embeddings", 1024);
  c.tie_word_embeddings = config.get_bool("tie_word_embeddings", true);
  c.activation = config.get_string("activation_function", "gelu");
  return c;
}

void encoder_layer(ModuleBuilder& b, const LedConfig& c, uint64_t i) {
  const bart::LayerShape shape{"LED", c.d_model, c.encoder_ffn_dim, c.encoder_heads, c.activation};
  bart::check_heads(shape);
  b.module(index_name(i), "LEDEncoderLayer", [&] {
    b.module("self_attn", "LEDEncoderAttention", [&] {
      b.module("longformer_self_attn", "LEDEncoderSelfAttention", [&] {
        for (const std::string_view name :
             {"query", "key", "value", "query_global", "key_global", "value_global"})
          b.linear(name, c.d_model, c.d_model, true);
      });
      b.linear("output", c.d_model, c.d_model, true);
    });
    b.layer_norm("self_attn_layer_norm", c.d_model);
    b.activation("activation_fn", c.activation);
    bart::feed_forward(b, shape);
  });
}

void stack(ModuleBuilder& b, const LedConfig& c, bool is_decoder, ModuleId shared) {
  b.module(is_decoder ? "decoder" : "encoder", is_decoder ? "LEDDecoder" : "LEDEncoder", [&] {
    if (b.is_v5()) {
      b.embedding("embed_tokens", c.vocab_size, c.d_model);
    } else {
      b.share("embed_tokens", shared);
    }
    b.module("embed_positions", "LEDLearnedPositionalEmbedding", [&] {
      b.parameter("weight", {is_decoder ? c.max_decoder_positions : c.max_encoder_positions, c.d_model});
    });
    b.list("layers", is_decoder ? c.decoder_layers : c.encoder_layers, [&](uint64_t i) {
      if (is_decoder) {
        bart::decoder_layer(b, i,
                            {.prefix = "LED",
                             .hidden_size = c.d_model,
                             .ffn_dim = c.decoder_ffn_dim,
                             .num_heads = c.decoder_heads,
                             .activation = c.activation,
                             .attention = "DecoderAttention"});
      } else {
        encoder_layer(b, c, i);
      }
    });
    b.layer_norm("layernorm_embedding", c.d_model);
  });
}

/// The base model's children in the open module, which `prefix` names ("led." or nothing).
void encoder_decoder(ModuleBuilder& b, const LedConfig& c, std::string_view prefix) {
  const ModuleId shared = b.embedding("shared", c.vocab_size, c.d_model);
  stack(b, c, false, shared);
  stack(b, c, true, shared);
  if (!c.tie_word_embeddings) return;
  for (const std::string_view name : {"encoder", "decoder"})
    b.tie(fmt::format("{}{}.embed_tokens.weight", prefix, name), fmt::format("{}shared.weight", prefix));
}

void wrapped_model(ModuleBuilder& b, const LedConfig& c) {
  b.module("led", "LEDModel", [&] { encoder_decoder(b, c, "led."); });
}

void base_model(ModuleBuilder& b, const ModelConfig& config) { encoder_decoder(b, read_config(config), ""); }

void conditional_generation(ModuleBuilder& b, const ModelConfig& config) {
  const LedConfig c = read_config(config);
  wrapped_model(b, c);
  b.buffer("final_logits_bias", {1, c.vocab_size}, b.default_dtype(), true);
  b.linear("lm_head", c.d_model, c.vocab_size, false);
  if (c.tie_word_embeddings) b.tie("lm_head.weight", "led.shared.weight");
}

void sequence_classification(ModuleBuilder& b, const ModelConfig& config) {
  const LedConfig c = read_config(config);
  wrapped_model(b, c);
  b.module("classification_head", "LEDClassificationHead", [&] {
    b.linear("dense", c.d_model, c.d_model, true);
    b.dropout("dropout");
    b.linear("out_proj", c.d_model, config.num_labels(), true);
  });
}

void question_answering(ModuleBuilder& b, const ModelConfig& config) {
  const LedConfig c = read_config(config);
  wrapped_model(b, c);
  b.linear("qa_outputs", c.d_model, 2, true);
}

constexpr ModelClass kClasses[] = {
    {.name = "LEDForConditionalGeneration",
     .base_model_prefix = "led",
     .declare = conditional_generation,
     .ignore_missing = {"final_logits_bias"}},
    {"LEDModel", "led", base_model},
    {"LEDForSequenceClassification", "led", sequence_classification},
    {"LEDForQuestionAnswering", "led", question_answering},
};

}  // namespace

constexpr Architecture kLed{"led", kClasses};

}  // namespace hfload
