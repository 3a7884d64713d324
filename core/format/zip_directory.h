#pragma once

// What the readers of a zip archive share.

#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/format/byte_source.h"

namespace hfload {

/// A 32-bit field of this value says that a 64-bit one stands elsewhere.
inline constexpr uint32_t kZipIn64Bits = 0xFFFFFFFF;

/// Where the central directory is.
struct ZipDirectory {
  uint64_t offset = 0;  ///< bytes from the start of the file
  uint64_t bytes = 0;
  uint64_t members = 0;
  uint64_t comment_bytes = 0;   ///< of the archive's comment
  uint64_t trailing_bytes = 0;  ///< after the archive
};

/// Finds the central directory by the end record, and by that of zip64 where there is one, and holds the two
/// against one another. The end record is the last of its signature, and at most 64 KiB follow it: a comment
/// and other bytes. Readers that search forward or backward, or take a comment by its length, so find the
/// same one. Throws Error(invalid_zip, unsupported_format).
ZipDirectory find_zip_directory(const ByteSource& source);

/// A little-endian number of `count` bytes that the text holds.
uint64_t zip_number(std::string_view bytes, uint64_t at, unsigned count);
uint16_t zip_number16(std::string_view bytes, uint64_t at);
uint32_t zip_number32(std::string_view bytes, uint64_t at);

std::string read_zip_text(const ByteSource& source, uint64_t offset, uint64_t count);

/// Errors at a record that begins so many bytes from the start of the file.
Error invalid_zip(std::string message, uint64_t offset);
Error unsupported_zip(std::string message, uint64_t offset);

}  // namespace hfload
