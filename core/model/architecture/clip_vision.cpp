#include "core/model/architecture/clip_vision.h"

#include <fmt/core.h>

#include "core/base/error.h"

namespace hfload::clip {

EncoderConfig read_encoder_config(const ModelConfig& config, const EncoderConfig& defaults) {
  EncoderConfig c{};
  c.hidden_size = config.get_uint("hidden_size", defaults.hidden_size);
  c.intermediate_size = config.get_uint("intermediate_size", defaults.intermediate_size);
  c.num_layers = config.get_count("num_hidden_layers", defaults.num_layers);
  c.num_heads = config.get_uint("num_attention_heads", defaults.num_heads);
  c.hidden_act = config.get_string("hidden_act", defaults.hidden_act);
  if (c.num_heads == 0 || c.hidden_size % c.num_heads != 0) {
    throw Error(
        ErrorCode::invalid_config,
        fmt::format("hidden_size {} is no multiple of num_attention_heads {}", c.hidden_size, c.num_heads));
  }
  return c;
}

void encoder(ModuleBuilder& b, const EncoderConfig& c) {
  b.module("encoder", "CLIPEncoder", [&] {
    b.list("layers", c.num_layers, [&](uint64_t i) {
      b.module(index_name(i), "CLIPEncoderLayer", [&] {
        b.module("self_attn", "CLIPAttention", [&] {
          for (const char* name : {"k_proj", "v_proj", "q_proj", "out_proj"})
            b.linear(name, c.hidden_size, c.hidden_size, true);
        });
        b.layer_norm("layer_norm1", c.hidden_size);
        b.module("mlp", "CLIPMLP", [&] {
          b.activation("activation_fn", c.hidden_act);
          b.linear("fc1", c.hidden_size, c.intermediate_size, true);
          b.linear("fc2", c.intermediate_size, c.hidden_size, true);
        });
        b.layer_norm("layer_norm2", c.hidden_size);
      });
    });
  });
}

uint64_t vision_hidden_size(const ModelConfig& vision_config) {
  return vision_config.get_uint("hidden_size", 768);
}

void vision_transformer(ModuleBuilder& b, const ModelConfig& vision_config) {
  const EncoderConfig c = read_encoder_config(vision_config, {.hidden_size = vision_hidden_size({}),
                                                              .intermediate_size = 3072,
                                                              .num_layers = 12,
                                                              .num_heads = 12,
                                                              .hidden_act = "quick_gelu"});
  const uint64_t image_size = vision_config.get_uint("image_size", 224);
  const uint64_t patch_size = vision_config.get_uint("patch_size", 32);
  if (patch_size == 0) throw Error(ErrorCode::invalid_config, "patch_size is 0");
  const uint64_t patches_a_side = image_size / patch_size;
  if (patches_a_side > 1'000'000) throw Error(ErrorCode::invalid_config, "image_size is out of proportion");
  const uint64_t num_positions = patches_a_side * patches_a_side + 1;

  b.module("embeddings", "CLIPVisionEmbeddings", [&] {
    b.parameter("class_embedding", {c.hidden_size});
    b.conv2d("patch_embedding", vision_config.get_uint("num_channels", 3), c.hidden_size, patch_size,
             patch_size, false);
    b.embedding("position_embedding", num_positions, c.hidden_size);
    b.buffer("position_ids", {1, num_positions}, Dtype::i64, false);
  });
  b.layer_norm("pre_layrnorm", c.hidden_size);
  encoder(b, c);
  b.layer_norm("post_layernorm", c.hidden_size);
}

void vision_model(ModuleBuilder& b, const ModelConfig& vision_config) {
  if (b.is_v5()) return vision_transformer(b, vision_config);
  b.module("vision_model", "CLIPVisionTransformer", [&] { vision_transformer(b, vision_config); });
}

}  // namespace hfload::clip
