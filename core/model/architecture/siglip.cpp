#include "core/model/architecture/registry.h"
#include "core/model/architecture/siglip_vision.h"

/// SigLIP: both towers together, each by itself, and a classifier on the vision tower.
namespace hfload {
namespace {

void text_transformer(ModuleBuilder& b, const ModelConfig& config) {
  const siglip::EncoderConfig c = siglip::read_encoder_config(config);
  const uint64_t max_positions = config.get_uint("max_position_embeddings", 64);
  b.module("embeddings", "SiglipTextEmbeddings", [&] {
    b.embedding("token_embedding", config.get_uint("vocab_size", 32000), c.hidden_size);
    b.embedding("position_embedding", max_positions, c.hidden_size);
    b.buffer("position_ids", {1, max_positions}, Dtype::i64, false);
  });
  siglip::encoder(b, c);
  b.layer_norm("final_layer_norm", c.hidden_size);
  b.linear("head", c.hidden_size, config.get_uint("projection_size", c.hidden_size), true);
}

void text_tower(ModuleBuilder& b, const ModelConfig& config) {
  b.module("text_model", b.is_v5() ? "SiglipTextModel" : "SiglipTextTransformer",
           [&] { b.part(config, [&] { text_transformer(b, config); }); });
}

void vision_tower(ModuleBuilder& b, const ModelConfig& config) {
  b.module("vision_model", b.is_v5() ? "SiglipVisionModel" : "SiglipVisionTransformer",
           [&] { b.part(config, [&] { siglip::vision_transformer(b, config); }); });
}

void text_model(ModuleBuilder& b, const ModelConfig& config) {
  if (b.is_v5()) return text_transformer(b, config);
  text_tower(b, config);
}

void siglip_model(ModuleBuilder& b, const ModelConfig& config) {
  b.parameter("logit_scale", {1});
  b.parameter("logit_bias", {1});
  text_tower(b, config.nested("text_config"));
  vision_tower(b, config.nested("vision_config"));
}

void image_classification(ModuleBuilder& b, const ModelConfig& config) {
  const ModelConfig vision = config.nested("vision_config");
  vision_tower(b, vision);
  if (config.num_labels() == 0) {
    b.module("classifier", "Identity");
  } else {
    b.linear("classifier", vision.get_uint("hidden_size", siglip::kHiddenSize), config.num_labels(), true);
  }
}

constexpr NameList kNoSplit = {"SiglipTextEmbeddings", "SiglipVisionEmbeddings", "SiglipEncoderLayer",
                               "SiglipMultiheadAttentionPoolingHead"};

constexpr ModelClass kClasses[] = {
    {"SiglipModel", "siglip", siglip_model, kNoSplit},
    {"SiglipForImageClassification", "siglip", image_classification, kNoSplit},
};
constexpr ModelClass kTextClasses[] = {
    {.name = "SiglipTextModel",
     .base_model_prefix = "siglip",
     .declare = text_model,
     .no_split_modules = kNoSplit,
     .v5_base_model_prefix = "text_model"},
};
constexpr ModelClass kVisionClasses[] = {
    {.name = "SiglipVisionModel",
     .base_model_prefix = "siglip",
     .declare = siglip::vision_model,
     .no_split_modules = kNoSplit,
     .v5_base_model_prefix = "vision_model"},
};

}  // namespace

constexpr Architecture kSiglip{"siglip", kClasses};
constexpr Architecture kSiglipText{"siglip_text_model", kTextClasses};
constexpr Architecture kSiglipVision{"siglip_vision_model", kVisionClasses};

}  // namespace hfload
