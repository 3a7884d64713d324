#pragma once

// Zip archives as a scan reads them: whatever some reader might find in one, whether or not the archive is
// sound. What is to be loaded is read by zip_archive.h.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/format/byte_source.h"

namespace hfload {

struct LooseZipMember {
  std::string name;
  uint64_t data_offset = 0, packed_bytes = 0;  ///< from the start of the source
  uint64_t bytes = 0;                          ///< unpacked, as declared
  uint32_t crc = 0;                            ///< of the unpacked bytes, as declared
  uint16_t method = 0;                         ///< 0 stored, 8 deflate, 12 bzip2, 95 xz (APPNOTE 4.4.5)
  bool is_encrypted = false;
};

struct LooseZip {
  uint64_t begin = 0,
           end = 0;  ///< bytes from the start of the source; what follows `end` is not the archive's
  std::vector<LooseZipMember> members;  ///< in the order of their data, which do not overlap
  std::vector<Error> faults;            ///< of members that are left out: Error(invalid_zip)
};

/// The archive with the last end record in source[begin, end), as Python's zipfile finds it; other bytes, or
/// another archive, may stand before it and after it. Nothing where there is no end record whose central
/// directory lies in the range.
std::optional<LooseZip> read_last_zip(const ByteSource& source, uint64_t begin, uint64_t end);

}  // namespace hfload
