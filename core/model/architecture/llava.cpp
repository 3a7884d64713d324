#include <algorithm>
#include <string>

#include "core/model/architecture/registry.h"
#include "core/model/architecture/sub_model.h"

/// LLaVA, as models/llava of transformers 4.57 and 5 builds it: a vision tower and a text model that the
/// config names, and a projector between them.
namespace hfload {
namespace {

/// `vision_config`, or the tower of a config that has none.
ModelConfig vision_config(const ModelConfig& config) {
  if (const ConfigValue* found = config.find("vision_config"); found != nullptr && !found->is_null())
    return config.nested("vision_config");
  ConfigValue::Object values;
  for (const auto& [key, value] : {std::pair{"hidden_size", 1024U},
                                   {"intermediate_size", 4096U},
                                   {"num_hidden_layers", 24U},
                                   {"num_attention_heads", 16U},
                                   {"image_size", 336U},
                                   {"patch_size", 14U}})
    values.emplace_back(key, ConfigValue{uint64_t{value}});
  return ModelConfig(ConfigValue{std::move(values)});
}

uint64_t num_feature_layers(const ModelConfig& config) {
  const ConfigValue* layers = config.find("vision_feature_layer");
  const auto* list = layers == nullptr ? nullptr : std::get_if<ConfigValue::Array>(&layers->value);
  return list == nullptr ? 1 : list->size();
}

uint64_t text_hidden_size(const ModelConfig& text) { return text.get_uint("hidden_size", 4096); }

void llava_model(ModuleBuilder& b, const ModelConfig& config) {
  const ModelConfig vision = vision_config(config);
  const ModelConfig text = config.nested("text_config");
  const bool bias = config.get_bool("multimodal_projector_bias", true);
  auto_model(b, "vision_tower", vision, "clip_vision_model");
  b.module("multi_modal_projector", "LlavaMultiModalProjector", [&] {
    b.linear("linear_1", vision.get_uint("hidden_size", 768) * num_feature_layers(config),
             text_hidden_size(text), bias);
    b.activation("act", config.get_string("projector_hidden_act", "gelu"));
    b.linear("linear_2", text_hidden_size(text), text_hidden_size(text), bias);
  });
  auto_model(b, "language_model", text, "llama");
}

void conditional_generation(ModuleBuilder& b, const ModelConfig& config) {
  const ModelConfig text = config.nested("text_config");
  b.module("model", "LlavaModel", [&] { llava_model(b, config); });
  b.linear("lm_head", text_hidden_size(text), text.get_uint("vocab_size", 32000), false);
  // The key of the whole model counts in transformers 5 only.
  if (text.get_bool("tie_word_embeddings", false) ||
      (b.is_v5() && config.get_bool("tie_word_embeddings", false)))
    b.tie("lm_head.weight", "model.language_model.embed_tokens.weight");
}

constexpr ModelClass kClasses[] = {
    {.name = "LlavaForConditionalGeneration",
     .base_model_prefix = "",
     .declare = conditional_generation,
     .v5_base_model_prefix = "model",
     .key_renames = kImageTextRenames},
    {.name = "LlavaModel",
     .base_model_prefix = "",
     .declare = llava_model,
     .v5_base_model_prefix = "model",
     .key_renames = kImageTextModelRenames},
};

}  // namespace

constexpr Architecture kLlava{"llava", kClasses};

}  // namespace hfload
