#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hfload::test {

/// The bytes of an archive and where its records begin, so that a test can change one of them.
struct ZipBytes {
  std::string bytes;
  std::vector<uint64_t> local, central;  ///< headers, by member
  uint64_t directory = 0, end = 0;       ///< the central directory; the end record
  uint64_t zip64_end = 0;                ///< 0 without one

  /// Overwrites `count` bytes with a little-endian number.
  ZipBytes& put(uint64_t offset, uint64_t value, unsigned count);
};

struct ZipEntry {
  std::string name, data;
};

enum class ZipKind : uint8_t {
  plain,       ///< as Python's zipfile writes
  descriptor,  ///< sizes and CRC after the data, as PyTorch writes
  zip64,       ///< sizes, offsets and counts in 64 bits throughout
};

/// A stored archive of these entries (APPNOTE 6.3).
ZipBytes zip_bytes(const std::vector<ZipEntry>& entries, ZipKind kind = ZipKind::plain);

/// `count` bytes, little-endian.
std::string little_endian(uint64_t value, unsigned count);

}  // namespace hfload::test
