#pragma once

#include <cstdint>
#include <string_view>

#include "core/model/module_builder.h"

/// The layers that BART and its many descendants share (transformers 4.57, modeling_bart.py).
namespace hfload::bart {

/// What a layer needs to know; `prefix` begins its class names ("Bart").
struct LayerShape {
  std::string_view prefix;
  uint64_t hidden_size, ffn_dim, num_heads;
  std::string_view activation;
  bool key_bias = true;  ///< Whisper has none
};

/// Self-attention and feed-forward network. Throws Error(invalid_config) when the heads do not divide
/// hidden_size.
void encoder_layer(ModuleBuilder& b, uint64_t i, const LayerShape& shape);
/// The same with attention to the encoder's output, of `source_tokens` tokens or, with 0, as many as the
/// context has.
void decoder_layer(ModuleBuilder& b, uint64_t i, const LayerShape& shape, uint64_t source_tokens = 0);

}  // namespace hfload::bart
