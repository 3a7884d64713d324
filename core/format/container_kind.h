#pragma once

#include <cstdint>
#include <string_view>

#include "core/format/byte_source.h"
#include "core/format/unpack.h"

namespace hfload {

enum class ContainerKind : uint8_t {
  none,
  zip,
  tar,
  npy,
  packed,  ///< a compressed stream
  unread,  ///< a format that a scan knows by name only
};

/// What a file, or a part of one, is by its bytes.
struct Container {
  ContainerKind kind = ContainerKind::none;
  Packing packing = Packing::gzip;  ///< of a compressed stream
  uint64_t stream_offset = 0;       ///< where it begins, bytes from the start of the part
  /// Two bytes of a text may happen to be the start of a zlib or lzma stream; the first bytes unpack.
  bool is_weak = false;
  std::string_view name = {};  ///< of a format that is not read: "a 7z archive"
};

/// By the first bytes of source[begin, end). Throws what the source does.
Container find_container(const ByteSource& source, uint64_t begin, uint64_t end);

/// Whether source[begin, end) ends as a zip archive without a comment does, whatever stands before that.
bool ends_like_zip(const ByteSource& source, uint64_t begin, uint64_t end);

}  // namespace hfload
