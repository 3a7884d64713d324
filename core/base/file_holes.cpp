#include "core/base/file_holes.h"

#include <unistd.h>

#include <algorithm>

namespace hfload {

std::vector<FileHole> find_holes(const RegularFile& file, uint64_t least_bytes, size_t most) {
  const uint64_t bytes = file.identity.bytes;
  std::vector<FileHole> holes;
  for (uint64_t at = 0; at < bytes && holes.size() < most;) {
    const off_t hole = lseek(file.fd.get(), static_cast<off_t>(at), SEEK_HOLE);
    // The end of the file counts as a hole.
    if (hole < 0 || static_cast<uint64_t>(hole) >= bytes) break;
    const off_t data = lseek(file.fd.get(), hole, SEEK_DATA);
    const uint64_t end = data < 0 ? bytes : std::min(static_cast<uint64_t>(data), bytes);
    const auto begin = static_cast<uint64_t>(hole);
    if (end <= begin) break;
    if (end - begin >= least_bytes) holes.push_back({begin, end});
    at = end;
  }
  return holes;
}

bool has_hole(const std::vector<FileHole>& holes, uint64_t begin, uint64_t end, uint64_t least_bytes) {
  auto hole = std::ranges::upper_bound(holes, begin, {}, &FileHole::end);
  for (; hole != holes.end() && hole->begin < end; ++hole) {
    const uint64_t first = std::max(begin, hole->begin), last = std::min(end, hole->end);
    if (last - first >= least_bytes) return true;
  }
  return false;
}

}  // namespace hfload
