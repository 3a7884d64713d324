#include "core/base/layer_numbers.h"

#include <algorithm>

namespace hfload {

std::string fold_layer_numbers(std::string_view name) {
  std::string folded;
  folded.reserve(name.size());
  for (size_t at = 0; at <= name.size();) {
    const size_t dot = std::min(name.find('.', at), name.size());
    const std::string_view component = name.substr(at, dot - at);
    const bool is_number =
        !component.empty() && component.find_first_not_of("0123456789") == std::string_view::npos;
    if (at > 0) folded += '.';
    folded += is_number ? std::string_view("#") : component;
    at = dot + 1;
  }
  return folded;
}

}  // namespace hfload
