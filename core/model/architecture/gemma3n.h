#pragma once

#include <string_view>

#include "core/model/architecture/decoder.h"

namespace hfload {

/// The children of Gemma3nTextModel, which Gemma 3n for images, sound and text has inside it as well.
void gemma3n_text_model(ModuleBuilder& b, const ModelConfig& text_config);
/// The children of Gemma3nAudioEncoder, a conformer over mel spectrograms.
void gemma3n_audio_encoder(ModuleBuilder& b, const ModelConfig& audio_config);
/// A norm without a scale of its own, in whose place transformers 4 has a buffer that is 1.
void gemma3n_unscaled_norm(ModuleBuilder& b, std::string_view name);

/// What the configs' classes have where the config says nothing.
inline constexpr uint64_t kGemma3nHiddenSize = 2048;
inline constexpr uint64_t kGemma3nVocabSize = 262400;
inline constexpr uint64_t kGemma3nAudioHiddenSize = 1536;

}  // namespace hfload
