#include "core/model/architecture.h"

#include <algorithm>

#include "core/model/architecture/registry.h"

namespace hfload {

std::span<const Architecture* const> architectures() {
  static constexpr const Architecture* kRegistry[] = {
#define HFLOAD_ARCHITECTURE(constant) &constant,
#include "core/model/architecture/list.inc"
#undef HFLOAD_ARCHITECTURE
  };
  return kRegistry;
}

const Architecture* find_architecture(std::string_view model_type) {
  const auto all = architectures();
  const auto it = std::ranges::find(all, model_type, [](const Architecture* a) { return a->model_type; });
  return it == all.end() ? nullptr : *it;
}

}  // namespace hfload
