#include "core/model/architecture/sub_model.h"

#include <fmt/format.h>

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

}  // namespace

void auto_model(ModuleBuilder& b, std::string_view name, const ModelConfig& config,
                std::string_view default_type) {
  const std::string type = config.get_string("model_type", default_type);
  const Architecture* architecture = find_architecture(type);
  const ModelClass* base = architecture == nullptr ? nullptr : base_class(*architecture);
  if (base == nullptr) {
    throw Error(
        ErrorCode::unsupported_architecture,
        fmt::format("the part '{}' of the model is of type '{}', which hfload does not know", name, type));
  }
  b.module(name, base->name, [&] { base->declare(b, config); });
  const auto& no_split =
      b.is_v5() && base->v5_no_split_modules ? *base->v5_no_split_modules : base->no_split_modules;
  for (const std::string_view class_name : no_split) b.no_split(class_name);
}

}  // namespace hfload
