#include "core/model/architecture/siglip_vision.h"

#include <fmt/core.h>

#include "core/base/error.h"

namespace hfload::siglip {
namespace {

void mlp(ModuleBuilder& b, const EncoderConfig& c) {
  b.module("mlp", "SiglipMLP", [&] {
    b.activation("activation_fn", c.hidden_act);
    b.linear("fc1", c.hidden_size, c.intermediate_size, true);
    b.linear("fc2", c.intermediate_size, c.hidden_size, true);
  });
}

void pooling_head(ModuleBuilder& b, const EncoderConfig& c) {
  b.module("head", "SiglipMultiheadAttentionPoolingHead", [&] {
    b.parameter("probe", {1, 1, c.hidden_size});
    b.module("attention", "MultiheadAttention", [&] {
      b.parameter("in_proj_weight", {3 * c.hidden_size, c.hidden_size});
      b.parameter("in_proj_bias", {3 * c.hidden_size});
      b.module("out_proj", "NonDynamicallyQuantizableLinear", [&] {
        b.parameter("weight", {c.hidden_size, c.hidden_size});
        b.parameter("bias", {c.hidden_size});
      });
    });
    b.layer_norm("layernorm", c.hidden_size);
    mlp(b, c);
  });
}

}  // namespace

EncoderConfig read_encoder_config(const ModelConfig& config) {
  EncoderConfig c{};
  c.hidden_size = config.get_uint("hidden_size", kHiddenSize);
  c.intermediate_size = config.get_uint("intermediate_size", 3072);
  c.num_layers = config.get_count("num_hidden_layers", 12);
  c.hidden_act = config.get_string("hidden_act", "gelu_pytorch_tanh");
  const uint64_t num_heads = config.get_uint("num_attention_heads", 12);
  if (num_heads == 0 || c.hidden_size % num_heads != 0) {
    throw Error(
        ErrorCode::invalid_config,
        fmt::format("hidden_size {} is no multiple of num_attention_heads {}", c.hidden_size, num_heads));
  }
  return c;
}

void encoder(ModuleBuilder& b, const EncoderConfig& c) {
  b.module("encoder", "SiglipEncoder", [&] {
    b.list("layers", c.num_layers, [&](uint64_t i) {
      b.module(index_name(i), "SiglipEncoderLayer", [&] {
        b.layer_norm("layer_norm1", c.hidden_size);
        b.module("self_attn", "SiglipAttention", [&] {
          for (const char* name : {"k_proj", "v_proj", "q_proj", "out_proj"})
            b.linear(name, c.hidden_size, c.hidden_size, true);
        });
        b.layer_norm("layer_norm2", c.hidden_size);
        mlp(b, c);
      });
    });
  });
}

void vision_transformer(ModuleBuilder& b, const ModelConfig& vision_config) {
  const EncoderConfig c = read_encoder_config(vision_config);
  const uint64_t image_size = vision_config.get_uint("image_size", 224);
  const uint64_t patch_size = vision_config.get_uint("patch_size", 16);
  if (patch_size == 0) throw Error(ErrorCode::invalid_config, "patch_size is 0");
  const uint64_t patches_a_side = image_size / patch_size;
  if (patches_a_side > 1'000'000) throw Error(ErrorCode::invalid_config, "image_size is out of proportion");
  const uint64_t num_positions = patches_a_side * patches_a_side;

  b.module("embeddings", "SiglipVisionEmbeddings", [&] {
    b.conv2d("patch_embedding", vision_config.get_uint("num_channels", 3), c.hidden_size, patch_size,
             patch_size, true);
    b.embedding("position_embedding", num_positions, c.hidden_size);
    b.buffer("position_ids", {1, num_positions}, Dtype::i64, false);
  });
  encoder(b, c);
  b.layer_norm("post_layernorm", c.hidden_size);
  if (vision_config.get_bool("vision_use_head", true)) pooling_head(b, c);
}

void vision_model(ModuleBuilder& b, const ModelConfig& vision_config) {
  if (b.is_v5()) return vision_transformer(b, vision_config);
  b.module("vision_model", "SiglipVisionTransformer", [&] { vision_transformer(b, vision_config); });
}

}  // namespace hfload::siglip
