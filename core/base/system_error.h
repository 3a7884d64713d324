#pragma once

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/error.h"

namespace hfload {

/// What a path was wanted for: whose rights a hint speaks of.
enum class PathUse : uint8_t { read, write };

/// The Error for a system call that failed with `error`: no_space for a full disk or quota, else io_error.
/// `action` says what was done: "writing".
Error system_error(std::string_view action, int error, const std::string& path, PathUse use = PathUse::write);

/// Repeats a system call while signals interrupt it.
template <class Call>
auto retry_interrupted(Call&& call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace hfload
