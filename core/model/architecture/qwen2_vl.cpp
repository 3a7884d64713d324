#include <fmt/core.h>

#include <string>

#include "core/base/error.h"
#include "core/model/architecture/decoder.h"
#include "core/model/architecture/registry.h"

/// Qwen2-VL and Qwen2.5-VL, as models/qwen2_vl and models/qwen2_5_vl of transformers 4.57 and 5 build them.
namespace hfload {
namespace {

enum class Version : uint8_t { v2, v2_5 };

struct VisionConfig {
  uint64_t hidden_size, intermediate_size, out_hidden_size, depth, num_heads, in_channels, patch_size,
      temporal_patch_size, merge_area;
  std::string hidden_act;
};

/// What 2 calls embed_dim and hidden_size, 2.5 calls hidden_size and out_hidden_size.
VisionConfig read_vision_config(const ModelConfig& config, Version version) {
  const bool is_v2 = version == Version::v2;
  VisionConfig c{};
  c.hidden_size = is_v2 ? config.get_uint("embed_dim", 1280) : config.get_uint("hidden_size", 3584);
  c.out_hidden_size = config.get_uint(is_v2 ? "hidden_size" : "out_hidden_size", 3584);
  c.intermediate_size = is_v2 ? product(c.hidden_size, config.get_uint("mlp_ratio", 4))
                              : config.get_uint("intermediate_size", 3420);
  c.depth = config.get_count({"depth", "num_hidden_layers"}, 32);
  c.num_heads = config.get_uint({"num_heads", "num_attention_heads"}, 16);
  c.in_channels = config.get_uint("in_channels", 3);
  c.patch_size = config.get_uint("patch_size", 14);
  c.temporal_patch_size = config.get_uint("temporal_patch_size", 2);
  const uint64_t merge_size = config.get_uint("spatial_merge_size", 2);
  c.merge_area = product(merge_size, merge_size);
  c.hidden_act = config.get_string("hidden_act", is_v2 ? "quick_gelu" : "silu");
  if (c.num_heads == 0) throw Error(ErrorCode::invalid_config, "num_heads of vision_config is 0");
  return c;
}

void adjust(DecoderConfig& c, const ModelConfig& config) {
  c.qkv_bias = true;
  if (!config.get_bool("use_sliding_window", false)) return;
  read_sliding_window(c, config, 4096);
  const uint64_t first = config.get_uint("max_window_layers", 80);
  read_layer_types(c, config, [&](uint64_t i) { return i >= first; });
}

constexpr DecoderFamily text_family(std::string_view prefix) {
  return {.prefix = prefix,
          .vocab_size = 152064,
          .hidden_size = 8192,
          .intermediate_size = 29568,
          .num_layers = 80,
          .num_heads = 64,
          .num_kv_heads = 8,
          .adjust = adjust};
}
constexpr DecoderFamily kV2Family = text_family("Qwen2VL");
constexpr DecoderFamily kV25Family = text_family("Qwen2_5_VL");

constexpr const DecoderFamily& family_of(Version version) {
  return version == Version::v2 ? kV2Family : kV25Family;
}

/// The norm of the text model, and of the vision tower of 2.5.
std::string norm_class(const ModuleBuilder& b, Version version) {
  return b.is_v5() ? fmt::format("{}RMSNorm", family_of(version).prefix) : "Qwen2RMSNorm";
}

void vision_norm(ModuleBuilder& b, Version version, std::string_view name, uint64_t features) {
  if (version == Version::v2) {
    b.layer_norm(name, features);
  } else {
    b.rms_norm(name, norm_class(b, version), features);
  }
}

void vision_block(ModuleBuilder& b, const VisionConfig& c, Version version) {
  vision_norm(b, version, "norm1", c.hidden_size);
  vision_norm(b, version, "norm2", c.hidden_size);
  b.module("attn", version == Version::v2 ? "VisionAttention" : "Qwen2_5_VLVisionAttention", [&] {
    b.linear("qkv", c.hidden_size, 3 * c.hidden_size, true);
    b.linear("proj", c.hidden_size, c.hidden_size, true);
  });
  if (version == Version::v2_5) {
    gated_mlp(b, "mlp", "Qwen2_5_VLMLP", c.hidden_size, c.intermediate_size, true, c.hidden_act);
    return;
  }
  b.module("mlp", "VisionMlp", [&] {
    b.linear("fc1", c.hidden_size, c.intermediate_size, true);
    b.activation("act", c.hidden_act);
    b.linear("fc2", c.intermediate_size, c.hidden_size, true);
  });
}

void vision_tower(ModuleBuilder& b, const ModelConfig& config, Version version) {
  const bool is_v2 = version == Version::v2;
  const VisionConfig c = read_vision_config(config, version);
  const std::string prefix(family_of(version).prefix);
  b.module("patch_embed", is_v2 ? "PatchEmbed" : "Qwen2_5_VisionPatchEmbed", [&] {
    b.module("proj", "Conv3d", [&] {
      b.parameter("weight",
                  {c.hidden_size, c.in_channels, c.temporal_patch_size, c.patch_size, c.patch_size});
    });
  });
  b.rotary_embedding("rotary_pos_emb",
                     b.is_v5() ? prefix + "VisionRotaryEmbedding"
                     : is_v2   ? "VisionRotaryEmbedding"
                               : "Qwen2_5_VisionRotaryEmbedding",
                     (c.hidden_size / c.num_heads / 2 + 1) / 2);
  b.list("blocks", c.depth, [&](uint64_t i) {
    b.module(index_name(i), prefix + "VisionBlock", [&] { vision_block(b, c, version); });
  });
  b.module("merger", is_v2 ? "PatchMerger" : "Qwen2_5_VLPatchMerger", [&] {
    vision_norm(b, version, "ln_q", c.hidden_size);
    b.module("mlp", "Sequential", [&] {
      b.linear("0", product(c.hidden_size, c.merge_area), product(c.hidden_size, c.merge_area), true);
      b.module("1", "GELU");
      b.linear("2", product(c.hidden_size, c.merge_area), c.out_hidden_size, true);
    });
  });
}

/// transformers 4 gives every layer a rotary embedding beside the model's.
void text_model(ModuleBuilder& b, const ModelConfig& config, Version version) {
  const DecoderConfig c = read_decoder_config(b, config, family_of(version));
  const std::string norm = norm_class(b, version);
  const std::string rotary = c.class_name("RotaryEmbedding");
  b.embedding("embed_tokens", c.vocab_size, c.hidden_size);
  decoder_layers(b, c, [&](uint64_t i) {
    b.module("self_attn", c.class_name("Attention"), [&] {
      fill_attention(b, c, i);
      if (!b.is_v5()) b.rotary_embedding("rotary_emb", rotary, c.rotary_frequencies);
    });
    gated_mlp(b, "mlp", "Qwen2MLP", c.hidden_size, c.intermediate_size, false, c.hidden_act);
    b.rms_norm("input_layernorm", norm, c.hidden_size);
    b.rms_norm("post_attention_layernorm", norm, c.hidden_size);
  });
  b.rms_norm("norm", norm, c.hidden_size);
  b.rotary_embedding("rotary_emb", rotary, c.rotary_frequencies);
}

/// Published configs have the text model's keys beside `vision_config`, newer ones in `text_config`.
ModelConfig text_config(const ModelConfig& config) {
  const ConfigValue* found = config.find("text_config");
  return found == nullptr || found->is_null() ? config : config.nested("text_config");
}

template <Version kVersion>
void vl_model(ModuleBuilder& b, const ModelConfig& config) {
  const std::string prefix(family_of(kVersion).prefix);
  const ModelConfig vision = config.nested("vision_config"), text = text_config(config);
  b.module("visual",
           kVersion == Version::v2 ? "Qwen2VisionTransformerPretrainedModel"
                                   : "Qwen2_5_VisionTransformerPretrainedModel",
           [&] { b.part(vision, [&] { vision_tower(b, vision, kVersion); }); });
  b.module("language_model", prefix + "TextModel",
           [&] { b.part(text, [&] { text_model(b, text, kVersion); }); });
}

template <Version kVersion>
void conditional_generation(ModuleBuilder& b, const ModelConfig& config) {
  const ModelConfig text = text_config(config);
  b.module("model", std::string(family_of(kVersion).prefix) + "Model",
           [&] { vl_model<kVersion>(b, config); });
  b.linear("lm_head", text.get_uint("hidden_size", 8192), text.get_uint("vocab_size", 152064), false);
  // The key of the whole model counts in transformers 5 only.
  if (text.get_bool("tie_word_embeddings", false) ||
      (b.is_v5() && config.get_bool("tie_word_embeddings", false)))
    b.tie("lm_head.weight", "model.language_model.embed_tokens.weight");
}

constexpr NameList kV2NoSplit = {"Qwen2VLDecoderLayer", "Qwen2VLVisionBlock"};
constexpr NameList kV25NoSplit = {"Qwen2_5_VLDecoderLayer", "Qwen2_5_VLVisionBlock"};

constexpr KeyRename kRenames[] = {
    {"^visual", "model.visual"},
    {"^model(?!\\.(language_model|visual))", "model.language_model"},
};
constexpr KeyRename kModelRenames[] = {{"^model", "language_model"}};

constexpr ModelClass kV2Classes[] = {
    {.name = "Qwen2VLForConditionalGeneration",
     .base_model_prefix = "model",
     .declare = conditional_generation<Version::v2>,
     .no_split_modules = kV2NoSplit,
     .key_renames = kRenames},
    {.name = "Qwen2VLModel",
     .base_model_prefix = "",
     .declare = vl_model<Version::v2>,
     .no_split_modules = kV2NoSplit,
     .v5_base_model_prefix = "model",
     .key_renames = kModelRenames},
};
constexpr ModelClass kV25Classes[] = {
    {.name = "Qwen2_5_VLForConditionalGeneration",
     .base_model_prefix = "model",
     .declare = conditional_generation<Version::v2_5>,
     .no_split_modules = kV25NoSplit,
     .key_renames = kRenames},
    {.name = "Qwen2_5_VLModel",
     .base_model_prefix = "",
     .declare = vl_model<Version::v2_5>,
     .no_split_modules = kV25NoSplit,
     .v5_base_model_prefix = "model",
     .key_renames = kModelRenames},
};

}  // namespace

constexpr Architecture kQwen2Vl{"qwen2_vl", kV2Classes};
constexpr Architecture kQwen25Vl{"qwen2_5_vl", kV25Classes};

}  // namespace hfload
