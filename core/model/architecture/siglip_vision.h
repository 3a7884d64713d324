#pragma once

#include <string>

#include "core/model/architecture.h"

/// SigLIP's encoder and its vision tower, which other families see with (models/siglip of transformers 4.57
/// and 5).
namespace hfload::siglip {

inline constexpr uint64_t kHiddenSize = 768;  ///< where the config says nothing

/// What the text and the vision encoder read alike from their configs.
struct EncoderConfig {
  uint64_t hidden_size, intermediate_size, num_layers;
  std::string hidden_act;
};

/// Throws Error(invalid_config) where hidden_size is no multiple of num_attention_heads.
EncoderConfig read_encoder_config(const ModelConfig& config);

/// `encoder` (SiglipEncoder) in the open module.
void encoder(ModuleBuilder& b, const EncoderConfig& c);

/// The children of SiglipVisionTransformer, which in transformers 5 are those of SiglipVisionModel itself.
void vision_transformer(ModuleBuilder& b, const ModelConfig& vision_config);

/// The children of SiglipVisionModel.
void vision_model(ModuleBuilder& b, const ModelConfig& vision_config);

}  // namespace hfload::siglip
