#pragma once

#include <string_view>

#include "core/model/architecture.h"

namespace hfload {

/// How transformers 4.57 reads checkpoints of image-text models that were saved before their parts moved
/// below `model`.
inline constexpr KeyRename kImageTextRenames[] = {
    {"^language_model.model", "model.language_model"},
    {"^vision_tower", "model.vision_tower"},
    {"^multi_modal_projector", "model.multi_modal_projector"},
    {"^language_model.lm_head", "lm_head"},
};
/// The same for the model without a head.
inline constexpr KeyRename kImageTextModelRenames[] = {{"language_model.model", "language_model"}};

/// AutoModel.from_config, which models of several parts build those by: a child module of the base model that
/// `model_type` of its config names (`default_type` where it names none), with the no-split classes of that
/// model. Throws Error(unsupported_architecture) for a model_type that is not declared.
void auto_model(ModuleBuilder& b, std::string_view name, const ModelConfig& config,
                std::string_view default_type);
/// AutoModelForCausalLM.from_config or, for a family without such a class, AutoModelForSeq2SeqLM.from_config;
/// with the ties of that model. Otherwise as auto_model.
void auto_language_model(ModuleBuilder& b, std::string_view name, const ModelConfig& config,
                         std::string_view default_type);

}  // namespace hfload
