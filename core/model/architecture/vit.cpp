#include <fmt/core.h>

#include <string>

#include "core/base/error.h"
#include "core/model/architecture/patches.h"
#include "core/model/architecture/registry.h"

/// ViT, as transformers 4.57 models/vit/modeling_vit.py builds it. Transformers 5 names the parts of a layer
/// anew.
namespace hfload {
namespace {

struct VitConfig {
  uint64_t hidden_size, intermediate_size, num_layers, num_heads, head_dim, num_channels;
  Patches patches;
  bool qkv_bias;
  std::string hidden_act;
};

VitConfig read_config(const ModelConfig& config, bool is_v5) {
  VitConfig c{};
  c.hidden_size = config.get_uint("hidden_size", 768);
  c.intermediate_size = config.get_uint("intermediate_size", 3072);
  c.num_layers = config.get_count("num_hidden_layers", 12);
  c.num_heads = config.get_uint("num_attention_heads", 12);
  c.num_channels = config.get_uint("num_channels", 3);
  c.qkv_bias = config.get_bool("qkv_bias", true);
  c.hidden_act = config.get_string("hidden_act", "gelu");
  if (c.num_heads == 0 || c.hidden_size % c.num_heads != 0) {
    throw Error(
        ErrorCode::invalid_config,
        fmt::format("hidden_size {} is no multiple of num_attention_heads {}", c.hidden_size, c.num_heads));
  }
  c.head_dim = c.hidden_size / c.num_heads;
  if (is_v5) c.head_dim = config.get_uint("head_dim", c.head_dim);

  c.patches = read_patches(config, 224, 16);
  return c;
}

void attention_of_v4(ModuleBuilder& b, const VitConfig& c) {
  b.module("attention", "ViTAttention", [&] {
    b.module("attention", "ViTSelfAttention", [&] {
      for (const char* name : {"query", "key", "value"})
        b.linear(name, c.hidden_size, c.hidden_size, c.qkv_bias);
    });
    b.module("output", "ViTSelfOutput", [&] {
      b.linear("dense", c.hidden_size, c.hidden_size, true);
      b.dropout("dropout");
    });
  });
}

void layer_of_v4(ModuleBuilder& b, const VitConfig& c) {
  attention_of_v4(b, c);
  b.module("intermediate", "ViTIntermediate", [&] {
    b.linear("dense", c.hidden_size, c.intermediate_size, true);
    b.activation("intermediate_act_fn", c.hidden_act);
  });
  b.module("output", "ViTOutput", [&] {
    b.linear("dense", c.intermediate_size, c.hidden_size, true);
    b.dropout("dropout");
  });
  b.layer_norm("layernorm_before", c.hidden_size);
  b.layer_norm("layernorm_after", c.hidden_size);
}

void layer_of_v5(ModuleBuilder& b, const VitConfig& c) {
  b.module("attention", "ViTAttention", [&] {
    for (const char* name : {"q_proj", "k_proj", "v_proj"})
      b.linear(name, c.hidden_size, product(c.num_heads, c.head_dim), c.qkv_bias);
    b.linear("o_proj", product(c.num_heads, c.head_dim), c.hidden_size, true);
  });
  b.layer_norm("layernorm_before", c.hidden_size);
  b.layer_norm("layernorm_after", c.hidden_size);
  b.module("mlp", "ViTMLP", [&] {
    b.activation("activation_fn", c.hidden_act);
    b.linear("fc1", c.hidden_size, c.intermediate_size, true);
    b.linear("fc2", c.intermediate_size, c.hidden_size, true);
  });
  b.dropout("dropout");
}

void vit(ModuleBuilder& b, const VitConfig& c, bool use_mask_token) {
  b.module("embeddings", "ViTEmbeddings", [&] {
    b.parameter("cls_token", {1, 1, c.hidden_size});
    if (use_mask_token) b.parameter("mask_token", {1, 1, c.hidden_size});
    b.parameter("position_embeddings", {1, c.patches.count + 1, c.hidden_size});
    b.module("patch_embeddings", "ViTPatchEmbeddings", [&] {
      b.conv2d("projection", c.num_channels, c.hidden_size, c.patches.height, c.patches.width, true);
    });
    b.dropout("dropout");
  });
  const auto layer = [&](uint64_t i) {
    b.module(index_name(i), "ViTLayer", [&] { b.is_v5() ? layer_of_v5(b, c) : layer_of_v4(b, c); });
  };
  if (b.is_v5()) {
    b.list("layers", c.num_layers, layer);
  } else {
    b.module("encoder", "ViTEncoder", [&] { b.list("layer", c.num_layers, layer); });
  }
  b.layer_norm("layernorm", c.hidden_size);
}

void base_model(ModuleBuilder& b, const ModelConfig& config) {
  const VitConfig c = read_config(config, b.is_v5());
  vit(b, c, false);
  const uint64_t pooled = config.get_uint("pooler_output_size", 0);
  b.module("pooler", "ViTPooler", [&] {
    b.linear("dense", c.hidden_size, pooled == 0 ? c.hidden_size : pooled, true);
    b.activation("activation", config.get_string("pooler_act", "tanh"));
  });
}

void image_classification(ModuleBuilder& b, const ModelConfig& config) {
  const VitConfig c = read_config(config, b.is_v5());
  b.module("vit", "ViTModel", [&] { vit(b, c, false); });
  if (config.num_labels() == 0) {
    b.module("classifier", "Identity");
  } else {
    b.linear("classifier", c.hidden_size, config.num_labels(), true);
  }
}

void masked_image_modeling(ModuleBuilder& b, const ModelConfig& config) {
  const VitConfig c = read_config(config, b.is_v5());
  const uint64_t stride = config.get_count("encoder_stride", 16);
  b.module("vit", "ViTModel", [&] { vit(b, c, true); });
  b.module("decoder", "Sequential", [&] {
    b.conv2d("0", c.hidden_size, product(stride * stride, c.num_channels), 1, 1, true);
    b.module("1", "PixelShuffle");
  });
}

constexpr NameList kNoSplit = {"ViTEmbeddings", "ViTLayer"};
constexpr ModelClass kClasses[] = {
    {"ViTForImageClassification", "vit", image_classification, kNoSplit},
    {"ViTModel", "vit", base_model, kNoSplit},
    {"ViTForMaskedImageModeling", "vit", masked_image_modeling, kNoSplit},
};

}  // namespace

constexpr Architecture kVit{"vit", kClasses};

}  // namespace hfload
