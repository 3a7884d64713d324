#pragma once

#include <string_view>

#include "core/base/error.h"

namespace hfload {

/// How a Git LFS pointer file starts (Git LFS specification, version 1).
inline constexpr std::string_view kLfsPointerStart = "version https://git-lfs.github.com/spec/v1";

/// Throws Error(lfs_pointer) when the file that starts with `text` is the pointer that a clone without Git
/// LFS leaves.
inline void refuse_lfs_pointer(std::string_view text) {
  if (!text.starts_with(kLfsPointerStart)) return;
  throw Error(ErrorCode::lfs_pointer, "the file is a Git LFS pointer, not the content it stands for")
      .with_offset(0)
      .with_hint("Run `git lfs pull` in the model's directory, or download the file again.");
}

}  // namespace hfload
