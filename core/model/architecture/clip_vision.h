#pragma once

#include <string>

#include "core/model/architecture/registry.h"

/// CLIP's encoder and its vision tower, which other families see with (transformers 4.57,
/// models/clip/modeling_clip.py).
namespace hfload::clip {

/// What the text and the vision encoder read alike from their configs.
struct EncoderConfig {
  uint64_t hidden_size, intermediate_size, num_layers, num_heads;
  std::string hidden_act;
};

/// Text and vision configs differ in their defaults. Throws Error(invalid_config) where hidden_size is no
/// multiple of num_attention_heads.
EncoderConfig read_encoder_config(const ModelConfig& config, const EncoderConfig& defaults);

/// `encoder` (CLIPEncoder) in the open module.
void encoder(ModuleBuilder& b, const EncoderConfig& c);

/// hidden_size of a vision config.
uint64_t vision_hidden_size(const ModelConfig& vision_config);

/// The children of CLIPVisionTransformer, which in transformers 5 are those of CLIPVisionModel itself.
void vision_transformer(ModuleBuilder& b, const ModelConfig& vision_config);

/// The children of CLIPVisionModel.
void vision_model(ModuleBuilder& b, const ModelConfig& vision_config);

}  // namespace hfload::clip
