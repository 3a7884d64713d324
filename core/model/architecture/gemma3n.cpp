#include "core/model/architecture/gemma3n.h"

#include <fmt/core.h>

#include "core/base/error.h"
#include "core/model/architecture/mobilenetv5.h"
#include "core/model/architecture/registry.h"

/// Gemma 3n for images, sound and text, as models/gemma3n of transformers 4.57 and 5 builds it.
namespace hfload {
namespace {

void vision_tower(ModuleBuilder& b, const ModelConfig& config) {
  constexpr std::string_view kKnown = "mobilenetv5_300m_enc";
  const std::string name = config.get_string("architecture", kKnown);
  if (name != kKnown) {
    throw Error(ErrorCode::unsupported_architecture,
                fmt::format("the vision tower is timm's '{}', which hfload does not know", name));
  }
  b.module("vision_tower", "TimmWrapperModel",
           [&] { b.module("timm_model", "MobileNetV5Encoder", [&] { mobilenetv5_300m_encoder(b); }); });
}

void multimodal_embedder(ModuleBuilder& b, std::string_view name, const ModelConfig& config,
                         uint64_t default_hidden_size, uint64_t text_size) {
  const uint64_t hidden_size = config.get_uint("hidden_size", default_hidden_size);
  b.module(name, "Gemma3nMultimodalEmbedder", [&] {
    b.embedding("embedding", config.get_uint("vocab_size", 128), hidden_size);
    b.rms_norm("hard_embedding_norm", "Gemma3nRMSNorm", hidden_size);
    b.rms_norm("soft_embedding_norm", "Gemma3nRMSNorm", hidden_size);
    b.linear("embedding_projection", hidden_size, text_size, false);
    gemma3n_unscaled_norm(b, "embedding_post_projection_norm");
  });
}

void gemma3n_model(ModuleBuilder& b, const ModelConfig& config) {
  const ModelConfig text = config.nested("text_config");
  const ModelConfig vision = config.nested("vision_config"), audio = config.nested("audio_config");
  const uint64_t text_size = text.get_uint("hidden_size", kGemma3nHiddenSize);
  b.part(vision, [&] { vision_tower(b, vision); });
  b.module("language_model", "Gemma3nTextModel", [&] { b.part(text, [&] { gemma3n_text_model(b, text); }); });
  b.module("audio_tower", "Gemma3nAudioEncoder",
           [&] { b.part(audio, [&] { gemma3n_audio_encoder(b, audio); }); });
  multimodal_embedder(b, "embed_vision", vision, kMobileNetV5Features, text_size);
  multimodal_embedder(b, "embed_audio", audio, kGemma3nAudioHiddenSize, text_size);
}

void conditional_generation(ModuleBuilder& b, const ModelConfig& config) {
  const ModelConfig text = config.nested("text_config");
  b.module("model", "Gemma3nModel", [&] { gemma3n_model(b, config); });
  b.linear("lm_head", text.get_uint("hidden_size", kGemma3nHiddenSize),
           text.get_uint("vocab_size", kGemma3nVocabSize), false);
  // The key of the whole model counts in transformers 5, that of the text model in transformers 4.
  if ((b.is_v5() ? config : text).get_bool("tie_word_embeddings", true))
    b.tie("lm_head.weight", "model.language_model.embed_tokens.weight");
}

constexpr NameList kNoSplit = {"Gemma3nTextDecoderLayer"};
constexpr NameList kV5NoSplit = {"Gemma3nTextDecoderLayer", "TimmWrapperModel"};

constexpr ModelClass kClasses[] = {
    {.name = "Gemma3nForConditionalGeneration",
     .base_model_prefix = "model",
     .declare = conditional_generation,
     .no_split_modules = kNoSplit,
     .v5_no_split_modules = kV5NoSplit},
    {.name = "Gemma3nModel",
     .base_model_prefix = "",
     .declare = gemma3n_model,
     .no_split_modules = kNoSplit,
     .v5_base_model_prefix = "model",
     .v5_no_split_modules = kV5NoSplit},
};

}  // namespace

constexpr Architecture kGemma3n{"gemma3n", kClasses};

}  // namespace hfload
