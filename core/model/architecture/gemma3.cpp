#include "core/model/architecture/gemma.h"
#include "core/model/architecture/registry.h"
#include "core/model/architecture/siglip_vision.h"
#include "core/model/architecture/sub_model.h"

/// Gemma 3 for images and text, as models/gemma3 of transformers 4.57 and 5 builds it.
namespace hfload {
namespace {

void gemma3_model(ModuleBuilder& b, const ModelConfig& config) {
  const ModelConfig text = config.nested("text_config");
  const ModelConfig vision = config.nested("vision_config");
  const uint64_t vision_size = vision.get_uint("hidden_size", siglip::kHiddenSize);
  b.module("vision_tower", "SiglipVisionModel",
           [&] { b.part(vision, [&] { siglip::vision_model(b, vision); }); });
  b.module("multi_modal_projector", "Gemma3MultiModalProjector", [&] {
    b.parameter("mm_input_projection_weight", {vision_size, text.get_uint("hidden_size", kGemma3HiddenSize)});
    b.rms_norm("mm_soft_emb_norm", "Gemma3RMSNorm", vision_size);
    b.module("avg_pool", "AvgPool2d");
  });
  b.module("language_model", "Gemma3TextModel", [&] { b.part(text, [&] { gemma3_text_model(b, text); }); });
}

void conditional_generation(ModuleBuilder& b, const ModelConfig& config) {
  const ModelConfig text = config.nested("text_config");
  b.module("model", "Gemma3Model", [&] { gemma3_model(b, config); });
  b.linear("lm_head", text.get_uint("hidden_size", kGemma3HiddenSize),
           text.get_uint("vocab_size", kGemma3VocabSize), false);
  // The key of the whole model counts in transformers 5, that of the text model in transformers 4.
  if ((b.is_v5() ? config : text).get_bool("tie_word_embeddings", true))
    b.tie("lm_head.weight", "model.language_model.embed_tokens.weight");
}

void sequence_classification(ModuleBuilder& b, const ModelConfig& config) {
  b.module("model", "Gemma3Model", [&] { gemma3_model(b, config); });
  b.linear("score", config.nested("text_config").get_uint("hidden_size", kGemma3HiddenSize),
           config.num_labels(), false);
}

constexpr ModelClass model_class(std::string_view name, void (*declare)(ModuleBuilder&, const ModelConfig&),
                                 std::span<const KeyRename> key_renames) {
  return {.name = name,
          .base_model_prefix = "",
          .declare = declare,
          .no_split_modules = {"Gemma3DecoderLayer", "SiglipTextEmbeddings", "SiglipVisionEmbeddings",
                               "SiglipEncoderLayer", "SiglipMultiheadAttentionPoolingHead"},
          .v5_base_model_prefix = "model",
          .key_renames = key_renames};
}

constexpr ModelClass kClasses[] = {
    model_class("Gemma3ForConditionalGeneration", conditional_generation, kImageTextRenames),
    model_class("Gemma3Model", gemma3_model, kImageTextModelRenames),
    model_class("Gemma3ForSequenceClassification", sequence_classification, kImageTextRenames),
};

}  // namespace

constexpr Architecture kGemma3{"gemma3", kClasses};

}  // namespace hfload
