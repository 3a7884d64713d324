#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <utility>

namespace hfload {

/// Texts or whole numbers with `separator` between them. (Every file with fmt::join or fmt::format_to would
/// compile all of fmt anew.)
template <class Range>
std::string join(const Range& items, std::string_view separator) {
  std::string joined;
  bool is_first = true;
  for (const auto& item : items) {
    if (!std::exchange(is_first, false)) joined += separator;
    if constexpr (std::convertible_to<decltype(item), std::string_view>) {
      joined += std::string_view(item);
    } else {
      joined += std::to_string(item);
    }
  }
  return joined;
}

}  // namespace hfload
