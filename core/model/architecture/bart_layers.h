#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/model/module_builder.h"

/// The layers that BART and its many descendants share (transformers 4.57, modeling_bart.py).
namespace hfload::bart {

/// What a layer needs to know; `prefix` begins its class names ("Bart").
struct LayerShape {
  std::string_view prefix;
  uint64_t hidden_size, ffn_dim, num_heads;
  std::string_view activation;
  bool key_bias = true;                      ///< Whisper has none
  std::string_view attention = "Attention";  ///< ends the attention's class name
};

/// Throws Error(invalid_config) when the heads do not divide hidden_size.
void check_heads(const LayerShape& shape);

/// Self-attention and feed-forward network. Throws as check_heads.
void encoder_layer(ModuleBuilder& b, uint64_t i, const LayerShape& shape);
/// The same with attention to the encoder's output, of `source_tokens` tokens or, with 0, as many as the
/// context has; with nothing, it is given no source and caches none.
void decoder_layer(ModuleBuilder& b, uint64_t i, const LayerShape& shape,
                   std::optional<uint64_t> source_tokens = 0);

/// A layer's last children: fc1, fc2 and their norm.
void feed_forward(ModuleBuilder& b, const LayerShape& shape);

}  // namespace hfload::bart
