#include "core/base/system_error.h"

#include <fmt/core.h>

#include <system_error>

namespace hfload {

Error system_error(std::string_view action, int error, const std::string& path, PathUse use) {
  const bool full = error == ENOSPC || error == EDQUOT;
  Error result(full ? ErrorCode::no_space : ErrorCode::io_error,
               fmt::format("{} failed: {}", action, std::generic_category().message(error)));
  result.with_path(path);
  if (full) {
    result.with_hint("Make room on that disk, or write to another one.");
  } else if (error == EACCES || error == EPERM || error == EROFS) {
    result.with_hint(use == PathUse::read
                         ? "See who owns the path and who may read it, or choose another one."
                         : "See who owns the path and who may write there, or choose another one.");
  } else if (error == EIO) {
    result.with_hint("Look whether the disk is at fault (dmesg), and run the command again.");
  }
  return result;
}

}  // namespace hfload
