#include "core/model/architecture.h"

#include <algorithm>

#include "core/model/architecture/registry.h"

namespace hfload {

std::span<const Architecture* const> architectures() {
  static constexpr const Architecture* kRegistry[] = {
      &kBert, &kGpt2, &kLlama, &kMistral, &kQwen2, &kT5,
  };
  return kRegistry;
}

const Architecture* find_architecture(std::string_view model_type) {
  const auto all = architectures();
  const auto it = std::ranges::find(all, model_type, [](const Architecture* a) { return a->model_type; });
  return it == all.end() ? nullptr : *it;
}

}  // namespace hfload
