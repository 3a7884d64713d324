#include <string>
#include <string_view>

#include "core/model/architecture/bart_layers.h"
#include "core/model/architecture/registry.h"

/// Whisper, as transformers 4.57 models/whisper/modeling_whisper.py builds it.
namespace hfload {
namespace {

struct WhisperConfig {
  uint64_t vocab_size, num_mel_bins, d_model, encoder_layers, decoder_layers, encoder_ffn_dim,
      decoder_ffn_dim, encoder_heads, decoder_heads, max_source_positions, max_target_positions;
  bool tie_word_embeddings;
  std::string activation;
};

WhisperConfig read_config(const ModelConfig& config) {
  WhisperConfig c{};
  c.vocab_size = config.get_uint("vocab_size", 51865);
  c.num_mel_bins = config.get_uint("num_mel_bins", 80);
  c.d_model = config.get_uint({"d_model", "hidden_size"}, 384);
  c.encoder_layers = config.get_count("encoder_layers", 4);
  c.decoder_layers = config.get_count("decoder_layers", 4);
  c.encoder_ffn_dim = config.get_uint("encoder_ffn_dim", 1536);
  c.decoder_ffn_dim = config.get_uint("decoder_ffn_dim", 1536);
  c.encoder_heads = config.get_uint({"encoder_attention_heads", "num_attention_heads"}, 6);
  c.decoder_heads = config.get_uint("decoder_attention_heads", 6);
  c.max_source_positions = config.get_uint("max_source_positions", 1500);
  c.max_target_positions = config.get_uint("max_target_positions", 448);
  c.tie_word_embeddings = config.get_bool("tie_word_embeddings", true);
  c.activation = config.get_string("activation_function", "gelu");
  return c;
}

void conv1d_of_width_3(ModuleBuilder& b, std::string_view name, uint64_t in_channels, uint64_t out_channels) {
  b.module(name, "Conv1d", [&] {
    b.parameter("weight", {out_channels, in_channels, 3});
    b.parameter("bias", {out_channels});
  });
}

void encoder(ModuleBuilder& b, const WhisperConfig& c) {
  b.module("encoder", "WhisperEncoder", [&] {
    conv1d_of_width_3(b, "conv1", c.num_mel_bins, c.d_model);
    conv1d_of_width_3(b, "conv2", c.d_model, c.d_model);
    b.embedding("embed_positions", c.max_source_positions, c.d_model);
    b.list("layers", c.encoder_layers, [&](uint64_t i) {
      bart::encoder_layer(b, i,
                          {"Whisper", c.d_model, c.encoder_ffn_dim, c.encoder_heads, c.activation, false});
    });
    b.layer_norm("layer_norm", c.d_model);
  });
}

void decoder(ModuleBuilder& b, const WhisperConfig& c) {
  b.module("decoder", "WhisperDecoder", [&] {
    b.embedding("embed_tokens", c.vocab_size, c.d_model);
    b.module("embed_positions", "WhisperPositionalEmbedding", [&] {
      b.parameter("weight", {c.max_target_positions, c.d_model});
    });
    b.list("layers", c.decoder_layers, [&](uint64_t i) {
      bart::decoder_layer(b, i,
                          {"Whisper", c.d_model, c.decoder_ffn_dim, c.decoder_heads, c.activation, false},
                          c.max_source_positions);
    });
    b.layer_norm("layer_norm", c.d_model);
  });
}

void base_model(ModuleBuilder& b, const ModelConfig& config) {
  const WhisperConfig c = read_config(config);
  encoder(b, c);
  decoder(b, c);
}

void head(ModuleBuilder& b, const WhisperConfig& c) {
  b.linear("proj_out", c.d_model, c.vocab_size, false);
  if (c.tie_word_embeddings) b.tie("proj_out.weight", "model.decoder.embed_tokens.weight");
}

void conditional_generation(ModuleBuilder& b, const ModelConfig& config) {
  b.module("model", "WhisperModel", [&] { base_model(b, config); });
  head(b, read_config(config));
}

/// The decoder alone, which still has its cross-attention.
void causal_lm(ModuleBuilder& b, const ModelConfig& config) {
  const WhisperConfig c = read_config(config);
  b.module("model", "WhisperDecoderWrapper", [&] { decoder(b, c); });
  head(b, c);
}

void audio_classification(ModuleBuilder& b, const ModelConfig& config) {
  const WhisperConfig c = read_config(config);
  encoder(b, c);
  if (config.get_bool("use_weighted_layer_sum", false)) {
    // In transformers 5 both keys are one number.
    const uint64_t layers =
        b.is_v5() ? c.encoder_layers : config.get_count("num_hidden_layers", c.encoder_layers);
    b.parameter("layer_weights", {layers + 1});
  }
  const uint64_t projected = config.get_uint("classifier_proj_size", 256);
  b.linear("projector", c.d_model, projected, true);
  b.linear("classifier", projected, config.num_labels(), true);
}

constexpr NameList kLayers = {"WhisperEncoderLayer", "WhisperDecoderLayer"};
constexpr ModelClass kClasses[] = {
    {"WhisperForConditionalGeneration", "model", conditional_generation, kLayers},
    {"WhisperModel", "model", base_model, kLayers},
    {"WhisperForAudioClassification", "model", audio_classification, kLayers},
    {"WhisperForCausalLM", "model", causal_lm, kLayers},
};

}  // namespace

constexpr Architecture kWhisper{"whisper", kClasses};

}  // namespace hfload
