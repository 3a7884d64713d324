#pragma once

// Compressed streams, unpacked piece by piece. zlib, bzip2 and liblzma are seen in this room's unpack.cpp
// only.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/format/byte_source.h"

namespace hfload {

enum class Packing : uint8_t {
  deflate,     ///< RFC 1951 without a header, as in a zip archive (method 8)
  zlib,        ///< RFC 1950
  gzip,        ///< RFC 1952
  bzip2,       ///< "BZh"
  xz,          ///< the .xz format
  lzma_alone,  ///< the older .lzma format
};

/// "gzip", for messages.
std::string_view to_string(Packing packing);

/// Most bytes of memory that unpacking one stream takes. xz needs 65 MiB at its highest preset.
inline constexpr uint64_t kMaxUnpackMemory = 80 << 20;

class StreamDecoder;

/// Unpacks a compressed stream, forward only, in the memory of the format's window and a buffer of 64 KiB.
/// Streams of the same format that follow one another directly, or in xz after padding, are one, as gzip(1),
/// bzip2(1), xz(1) and Python's modules read them; a deflate stream stands alone.
class Unpacker {
 public:
  /// The stream begins at `begin` and ends at `end` or before; the range lies inside the source, which must
  /// outlive the Unpacker. It may have `most_bytes` unpacked bytes at most.
  Unpacker(const ByteSource& source, uint64_t begin, uint64_t end, Packing packing, uint64_t most_bytes);
  ~Unpacker();

  /// The next unpacked bytes: fills `into`, or less at the end of the stream; 0 says that it has ended.
  /// Throws Error(invalid_stream) for a stream that is damaged or ends early, once all bytes before the
  /// damage have been given out; Error(unsupported_format) for one that has more than `most_bytes`, or needs
  /// more memory than kMaxUnpackMemory; and what the source's read throws.
  size_t read(std::span<std::byte> into);

  /// Of the source: where the next packed byte is. Once read() has given 0, where the stream ends.
  uint64_t position() const { return window_begin_ + used_; }
  /// Given out so far.
  uint64_t unpacked_bytes() const { return unpacked_; }

 private:
  bool fill();
  bool has(size_t count);
  bool is_zero(size_t count);
  bool begins_another();
  size_t read_piece(std::span<std::byte> into);

  const ByteSource& source_;
  uint64_t end_, window_begin_, most_bytes_, unpacked_ = 0;
  size_t used_ = 0;  ///< of the window
  std::vector<std::byte> window_;
  Packing packing_;
  std::unique_ptr<StreamDecoder> decoder_;
  bool ended_ = false;
  std::optional<Error> fault_;  ///< thrown once all bytes before it have been given out
};

}  // namespace hfload
