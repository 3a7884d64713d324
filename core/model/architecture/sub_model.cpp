#include "core/model/architecture/sub_model.h"

#include <fmt/core.h>

#include <string>

#include "core/base/error.h"

namespace hfload {
namespace {

/// The class without a head, whose name all others of the family extend: LlamaModel, CLIPVisionModel.
const ModelClass* base_class(const Architecture& architecture) {
  const ModelClass* base = nullptr;
  for (const ModelClass& c : architecture.classes) {
    if (c.name.ends_with("Model") && (base == nullptr || c.name.size() < base->name.size())) base = &c;
  }
  return base;
}

/// The class that generates text; nullptr where the family has none.
const ModelClass* language_model_class(const Architecture& architecture) {
  for (const std::string_view suffix : {"ForCausalLM", "LMHeadModel", "ForConditionalGeneration"}) {
    for (const ModelClass& c : architecture.classes) {
      if (c.name.ends_with(suffix)) return &c;
    }
  }
  return nullptr;
}

/// Declares the class that `choose` picks from the family.
void declare_part(ModuleBuilder& b, std::string_view name, const ModelConfig& config,
                  std::string_view default_type, const ModelClass* (*choose)(const Architecture&)) {
  const std::string type = config.get_string("model_type", default_type);
  const Architecture* architecture = find_architecture(type);
  const ModelClass* part = architecture == nullptr ? nullptr : choose(*architecture);
  if (part == nullptr) {
    throw Error(
        ErrorCode::unsupported_architecture,
        fmt::format("the part '{}' of the model is of type '{}', which hfload does not know", name, type));
  }
  b.sub_model(name, part->name, [&] { b.part(config, [&] { part->declare(b, config); }); });
  const auto& no_split =
      b.is_v5() && part->v5_no_split_modules ? *part->v5_no_split_modules : part->no_split_modules;
  for (const std::string_view class_name : no_split) b.no_split(class_name);
  if (!b.is_v5()) return;
  for (const std::string_view pattern : part->v5_ignore_unexpected.value_or(part->ignore_unexpected))
    b.ignore_unexpected(pattern);
}

}  // namespace

void auto_model(ModuleBuilder& b, std::string_view name, const ModelConfig& config,
                std::string_view default_type) {
  declare_part(b, name, config, default_type, base_class);
}

void auto_language_model(ModuleBuilder& b, std::string_view name, const ModelConfig& config,
                         std::string_view default_type) {
  declare_part(b, name, config, default_type, language_model_class);
}

}  // namespace hfload
