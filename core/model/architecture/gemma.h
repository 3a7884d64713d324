#pragma once

#include "core/model/architecture/decoder.h"

namespace hfload {

/// The children of Gemma3TextModel, which Gemma 3 for images and text has inside it as well.
void gemma3_text_model(ModuleBuilder& b, const ModelConfig& text_config);

/// The model's width where the config says nothing.
inline constexpr uint64_t kGemma3HiddenSize = 2304;
inline constexpr uint64_t kGemma3VocabSize = 262208;

}  // namespace hfload
