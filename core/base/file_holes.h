#pragma once

#include <cstdint>
#include <vector>

#include "core/base/file.h"

namespace hfload {

/// Bytes of a file from `begin` to `end` that were never written: they take no room on the disk and read as
/// zeros.
struct FileHole {
  uint64_t begin = 0, end = 0;
};

/// The file's holes of at least `least_bytes` bytes, in order, at most `most` (lseek(2), SEEK_HOLE). None on
/// a file system that does not tell. Moves the descriptor's own offset.
std::vector<FileHole> find_holes(const RegularFile& file, uint64_t least_bytes, size_t most);

/// Whether one of these holes, which are in order, has at least `least_bytes` bytes between two offsets.
bool has_hole(const std::vector<FileHole>& holes, uint64_t begin, uint64_t end, uint64_t least_bytes);

}  // namespace hfload
