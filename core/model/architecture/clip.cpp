#include "core/model/architecture/clip_vision.h"

/// CLIP, as transformers 4.57 models/clip/modeling_clip.py builds it: both towers, and each saved alone.
namespace hfload {
namespace {

constexpr uint64_t kTextHiddenSize = 512;
constexpr uint64_t kProjectionDim = 512;

/// `text_config` or `vision_config`. Checkpoints of the first days repeat it under `…_dict`, and that one
/// holds.
ModelConfig tower_config(const ModelConfig& config, const char* key) {
  const std::string old_key = std::string(key) + "_dict";
  const ConfigValue* old = config.find(old_key);
  return config.nested(old == nullptr || old->is_null() ? key : old_key);
}

void text_transformer(ModuleBuilder& b, const ModelConfig& config) {
  const clip::EncoderConfig c = clip::read_encoder_config(config, {.hidden_size = kTextHiddenSize,
                                                                   .intermediate_size = 2048,
                                                                   .num_layers = 12,
                                                                   .num_heads = 8,
                                                                   .hidden_act = "quick_gelu"});
  const uint64_t max_positions = config.get_uint("max_position_embeddings", 77);
  b.module("embeddings", "CLIPTextEmbeddings", [&] {
    b.embedding("token_embedding", config.get_uint("vocab_size", 49408), c.hidden_size);
    b.embedding("position_embedding", max_positions, c.hidden_size);
    b.buffer("position_ids", {1, max_positions}, Dtype::i64, false);
  });
  clip::encoder(b, c);
  b.layer_norm("final_layer_norm", c.hidden_size);
}

/// `text_model`, inside of which the two versions are alike.
void text_tower(ModuleBuilder& b, const ModelConfig& config) {
  b.module("text_model", b.is_v5() ? "CLIPTextModel" : "CLIPTextTransformer",
           [&] { b.part(config, [&] { text_transformer(b, config); }); });
}

void vision_tower(ModuleBuilder& b, const ModelConfig& config) {
  b.module("vision_model", b.is_v5() ? "CLIPVisionModel" : "CLIPVisionTransformer",
           [&] { b.part(config, [&] { clip::vision_transformer(b, config); }); });
}

void text_model(ModuleBuilder& b, const ModelConfig& config) {
  if (b.is_v5()) {
    text_transformer(b, config);
  } else {
    text_tower(b, config);
  }
}

void text_model_with_projection(ModuleBuilder& b, const ModelConfig& config) {
  text_tower(b, config);
  b.linear("text_projection", config.get_uint("hidden_size", kTextHiddenSize),
           config.get_uint("projection_dim", kProjectionDim), false);
}

void vision_model_with_projection(ModuleBuilder& b, const ModelConfig& config) {
  vision_tower(b, config);
  b.linear("visual_projection", clip::vision_hidden_size(config),
           config.get_uint("projection_dim", kProjectionDim), false);
}

void clip_model(ModuleBuilder& b, const ModelConfig& config) {
  const ModelConfig text = tower_config(config, "text_config");
  const ModelConfig vision = tower_config(config, "vision_config");
  const uint64_t projection_dim = config.get_uint("projection_dim", kProjectionDim);
  text_tower(b, text);
  vision_tower(b, vision);
  b.linear("visual_projection", clip::vision_hidden_size(vision), projection_dim, false);
  b.linear("text_projection", text.get_uint("hidden_size", kTextHiddenSize), projection_dim, false);
  b.parameter("logit_scale", {});
}

void image_classification(ModuleBuilder& b, const ModelConfig& config) {
  const ModelConfig vision = tower_config(config, "vision_config");
  vision_tower(b, vision);
  if (config.num_labels() == 0) {
    b.module("classifier", "Identity");
  } else {
    b.linear("classifier", clip::vision_hidden_size(vision), config.num_labels(), true);
  }
}

constexpr NameList kNoSplit = {"CLIPTextEmbeddings", "CLIPEncoderLayer", "CLIPVisionEmbeddings"};
constexpr NameList kTextNoSplit = {"CLIPTextEmbeddings", "CLIPEncoderLayer"};

constexpr ModelClass kClasses[] = {
    {"CLIPModel", "clip", clip_model, kNoSplit},
    {.name = "CLIPForImageClassification",
     .base_model_prefix = "clip",
     .declare = image_classification,
     .v5_no_split_modules = kNoSplit},
};

constexpr ModelClass kTextClasses[] = {
    {.name = "CLIPTextModel",
     .base_model_prefix = "clip",
     .declare = text_model,
     .no_split_modules = kTextNoSplit,
     .v5_no_split_modules = kNoSplit},
    {.name = "CLIPTextModelWithProjection",
     .base_model_prefix = "clip",
     .declare = text_model_with_projection,
     .no_split_modules = kTextNoSplit,
     .v5_base_model_prefix = "text_model",
     .v5_no_split_modules = kNoSplit},
};

constexpr ModelClass kVisionClasses[] = {
    {.name = "CLIPVisionModel",
     .base_model_prefix = "clip",
     .declare = clip::vision_model,
     .no_split_modules = {"CLIPEncoderLayer"},
     .v5_no_split_modules = kNoSplit},
    {.name = "CLIPVisionModelWithProjection",
     .base_model_prefix = "clip",
     .declare = vision_model_with_projection,
     .v5_base_model_prefix = "vision_model",
     .v5_no_split_modules = kNoSplit},
};

}  // namespace

constexpr Architecture kClip{"clip", kClasses};
constexpr Architecture kClipText{"clip_text_model", kTextClasses};
constexpr Architecture kClipVision{"clip_vision_model", kVisionClasses};

}  // namespace hfload
