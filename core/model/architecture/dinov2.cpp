#include <fmt/core.h>

#include <string>

#include "core/base/error.h"
#include "core/model/architecture/patches.h"
#include "core/model/architecture/registry.h"

/// DINOv2 and DINOv2 with registers, as models/dinov2 and models/dinov2_with_registers of transformers 4.57
/// and 5 build them.
namespace hfload {
namespace {

struct Family {
  std::string_view prefix, attribute;
  uint64_t patch_size;
  bool has_registers;
};
constexpr Family kPlain{"Dinov2", "dinov2", 14, false};
constexpr Family kRegisters{"Dinov2WithRegisters", "dinov2_with_registers", 16, true};

struct Dinov2Config {
  const Family* family;
  uint64_t hidden_size, mlp_size, num_layers, all_heads, num_channels, num_register_tokens;
  Patches patches;
  bool qkv_bias, use_mask_token, use_swiglu_ffn, has_drop_path;
  std::string hidden_act;

  std::string class_name(std::string_view part) const { return std::string(family->prefix).append(part); }
};

Dinov2Config read_config(const ModelConfig& config, const Family& family, bool is_v5) {
  Dinov2Config c{};
  c.family = &family;
  c.hidden_size = config.get_uint("hidden_size", 768);
  c.num_layers = config.get_count("num_hidden_layers", 12);
  c.num_channels = config.get_uint("num_channels", 3);
  c.num_register_tokens = config.get_uint("num_register_tokens", 4);
  c.qkv_bias = config.get_bool("qkv_bias", true);
  c.use_mask_token = family.has_registers || config.get_bool("use_mask_token", true);
  c.use_swiglu_ffn = config.get_bool("use_swiglu_ffn", false);
  c.has_drop_path = config.get_double("drop_path_rate", 0) > 0;
  c.hidden_act = config.get_string("hidden_act", "gelu");
  c.patches = read_patches(config, 224, family.patch_size);

  const uint64_t num_heads = config.get_uint("num_attention_heads", 12);
  if (num_heads == 0 || c.hidden_size % num_heads != 0) {
    throw Error(
        ErrorCode::invalid_config,
        fmt::format("hidden_size {} is no multiple of num_attention_heads {}", c.hidden_size, num_heads));
  }
  c.all_heads = c.hidden_size;
  if (is_v5) c.all_heads = product(num_heads, config.get_uint("head_dim", c.hidden_size / num_heads));

  const double mlp_size = static_cast<double>(c.hidden_size) * config.get_double("mlp_ratio", 4);
  if (!(mlp_size >= 0 && mlp_size <= 1e15))
    throw Error(ErrorCode::invalid_config, "mlp_ratio is out of proportion");
  c.mlp_size = static_cast<uint64_t>(mlp_size);
  if (c.use_swiglu_ffn) c.mlp_size = (c.mlp_size * 2 / 3 + 7) / 8 * 8;
  return c;
}

void embeddings(ModuleBuilder& b, const Dinov2Config& c) {
  b.module("embeddings", c.class_name("Embeddings"), [&] {
    const auto registers = [&] {
      if (c.family->has_registers) b.parameter("register_tokens", {1, c.num_register_tokens, c.hidden_size});
    };
    b.parameter("cls_token", {1, 1, c.hidden_size});
    if (c.use_mask_token) b.parameter("mask_token", {1, c.hidden_size});
    if (!b.is_v5()) registers();
    b.parameter("position_embeddings", {1, c.patches.count + 1, c.hidden_size});
    if (b.is_v5()) registers();
    b.module("patch_embeddings", c.class_name("PatchEmbeddings"), [&] {
      b.conv2d("projection", c.num_channels, c.hidden_size, c.patches.height, c.patches.width, true);
    });
    b.dropout("dropout");
  });
}

void attention(ModuleBuilder& b, const Dinov2Config& c) {
  b.module("attention", c.class_name("Attention"), [&] {
    if (b.is_v5()) {
      for (const char* name : {"q_proj", "k_proj", "v_proj"})
        b.linear(name, c.hidden_size, c.all_heads, c.qkv_bias);
      b.linear("o_proj", c.all_heads, c.hidden_size, true);
      return;
    }
    b.module("attention", c.class_name("SelfAttention"), [&] {
      for (const char* name : {"query", "key", "value"})
        b.linear(name, c.hidden_size, c.hidden_size, c.qkv_bias);
    });
    b.module("output", c.class_name("SelfOutput"), [&] {
      b.linear("dense", c.hidden_size, c.hidden_size, true);
      b.dropout("dropout");
    });
  });
}

void swiglu(ModuleBuilder& b, const Dinov2Config& c) {
  b.module("mlp", c.class_name("SwiGLUFFN"), [&] {
    if (b.is_v5()) {
      b.linear("gate_proj", c.hidden_size, c.mlp_size, true);
      b.linear("up_proj", c.hidden_size, c.mlp_size, true);
      b.linear("down_proj", c.mlp_size, c.hidden_size, true);
      b.activation("act_fn", "silu");
    } else {
      b.linear("weights_in", c.hidden_size, 2 * c.mlp_size, true);
      b.linear("weights_out", c.mlp_size, c.hidden_size, true);
    }
  });
}

void mlp(ModuleBuilder& b, const Dinov2Config& c) {
  b.module("mlp", c.class_name("MLP"), [&] {
    if (b.is_v5()) b.activation("activation_fn", c.hidden_act);
    b.linear("fc1", c.hidden_size, c.mlp_size, true);
    if (!b.is_v5()) b.activation("activation", c.hidden_act);
    b.linear("fc2", c.mlp_size, c.hidden_size, true);
  });
}

void layer(ModuleBuilder& b, const Dinov2Config& c) {
  const auto layer_scale = [&](std::string_view name) {
    b.module(name, c.class_name("LayerScale"), [&] { b.parameter("lambda1", {c.hidden_size}); });
  };
  b.layer_norm("norm1", c.hidden_size);
  attention(b, c);
  layer_scale("layer_scale1");
  b.module("drop_path", c.has_drop_path ? c.class_name("DropPath") : "Identity");
  b.layer_norm("norm2", c.hidden_size);
  c.use_swiglu_ffn ? swiglu(b, c) : mlp(b, c);
  layer_scale("layer_scale2");
}

void dinov2(ModuleBuilder& b, const Dinov2Config& c) {
  embeddings(b, c);
  b.module("encoder", c.class_name("Encoder"), [&] {
    b.list("layer", c.num_layers,
           [&](uint64_t i) { b.module(index_name(i), c.class_name("Layer"), [&] { layer(b, c); }); });
  });
  b.layer_norm("layernorm", c.hidden_size);
}

template <const Family& kFamily>
void base_model(ModuleBuilder& b, const ModelConfig& config) {
  dinov2(b, read_config(config, kFamily, b.is_v5()));
}

template <const Family& kFamily>
void image_classification(ModuleBuilder& b, const ModelConfig& config) {
  const Dinov2Config c = read_config(config, kFamily, b.is_v5());
  b.module(kFamily.attribute, c.class_name("Model"), [&] { dinov2(b, c); });
  if (config.num_labels() == 0) {
    b.module("classifier", "Identity");
  } else {
    b.linear("classifier", product(2, c.hidden_size), config.num_labels(), true);
  }
}

template <const Family& kFamily>
constexpr ModelClass model_class(std::string_view name,
                                 void (*declare)(ModuleBuilder& b, const ModelConfig& config)) {
  constexpr bool kHasRegisters = kFamily.has_registers;
  return {.name = name,
          .base_model_prefix = kFamily.attribute,
          .declare = declare,
          .no_split_modules = kHasRegisters ? NameList{"Dinov2WithRegistersLayer"} : NameList{"Dinov2Layer"},
          .v5_no_split_modules = kHasRegisters
                                     ? NameList{"Dinov2WithRegistersEmbeddings", "Dinov2WithRegistersLayer"}
                                     : NameList{"Dinov2Embeddings", "Dinov2Layer"}};
}

constexpr ModelClass kPlainClasses[] = {
    model_class<kPlain>("Dinov2Model", base_model<kPlain>),
    model_class<kPlain>("Dinov2ForImageClassification", image_classification<kPlain>),
    model_class<kPlain>("Dinov2Backbone", base_model<kPlain>),
};
constexpr ModelClass kRegistersClasses[] = {
    model_class<kRegisters>("Dinov2WithRegistersModel", base_model<kRegisters>),
    model_class<kRegisters>("Dinov2WithRegistersForImageClassification", image_classification<kRegisters>),
    model_class<kRegisters>("Dinov2WithRegistersBackbone", base_model<kRegisters>),
};

}  // namespace

constexpr Architecture kDinov2{"dinov2", kPlainClasses};
constexpr Architecture kDinov2WithRegisters{"dinov2_with_registers", kRegistersClasses};

}  // namespace hfload
