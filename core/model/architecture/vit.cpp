#include <fmt/format.h>

#include <string>
#include <tuple>
#include <utility>

#include "core/base/error.h"
#include "core/model/architecture/registry.h"

/// ViT, as transformers 4.57 models/vit/modeling_vit.py builds it. Transformers 5 names the parts of a layer
/// anew.
namespace hfload {
namespace {

/// Of all heads together: far above any model, far below what overflows.
constexpr uint64_t kMaxWidth = uint64_t{1} << 48;

struct VitConfig {
  uint64_t hidden_size, intermediate_size, num_layers, num_heads, head_dim, num_channels, num_patches,
      patch_height, patch_width;
  bool qkv_bias;
  std::string hidden_act;
};

/// Height and width, of one number or two.
std::pair<uint64_t, uint64_t> get_size(const ModelConfig& config, const char* key, uint64_t fallback) {
  const ConfigValue* found = config.find(key);
  if (found == nullptr || !std::holds_alternative<ConfigValue::Array>(found->value)) {
    const uint64_t side = config.get_uint(key, fallback);
    return {side, side};
  }
  const auto sides = config.get_uints(key);
  if (!sides || sides->size() != 2)
    throw Error(ErrorCode::invalid_config, fmt::format("{} must be one number or two", key));
  return {(*sides)[0], (*sides)[1]};
}

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
  if (c.head_dim > kMaxWidth / c.num_heads)
    throw Error(ErrorCode::invalid_config, "head_dim is out of proportion");

  const auto [image_height, image_width] = get_size(config, "image_size", 224);
  std::tie(c.patch_height, c.patch_width) = get_size(config, "patch_size", 16);
  if (c.patch_height == 0 || c.patch_width == 0) throw Error(ErrorCode::invalid_config, "patch_size is 0");
  const uint64_t rows = image_height / c.patch_height, columns = image_width / c.patch_width;
  if (rows > 1'000'000 || columns > 1'000'000)
    throw Error(ErrorCode::invalid_config, "image_size is out of proportion");
  c.num_patches = rows * columns;
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
      b.linear(name, c.hidden_size, c.num_heads * c.head_dim, c.qkv_bias);
    b.linear("o_proj", c.num_heads * c.head_dim, c.hidden_size, true);
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
    b.parameter("position_embeddings", {1, c.num_patches + 1, c.hidden_size});
    b.module("patch_embeddings", "ViTPatchEmbeddings", [&] {
      b.conv2d("projection", c.num_channels, c.hidden_size, c.patch_height, c.patch_width, true);
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
  if (c.num_channels > 1'000'000) throw Error(ErrorCode::invalid_config, "num_channels is out of proportion");
  b.module("decoder", "Sequential", [&] {
    b.conv2d("0", c.hidden_size, stride * stride * c.num_channels, 1, 1, true);
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
