#pragma once

#include <string_view>

#include "core/model/architecture.h"

namespace hfload {

/// AutoModel.from_config, which models of several parts build those by: a child module of the base model that
/// `model_type` of its config names (`default_type` where it names none), with the no-split classes of that
/// model. Throws Error(unsupported_architecture) for a model_type that is not declared.
void auto_model(ModuleBuilder& b, std::string_view name, const ModelConfig& config,
                std::string_view default_type);

}  // namespace hfload
