#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/format/byte_source.h"

namespace hfload {

/// Most members of an archive: the storages of one file, and a few records beside them.
inline constexpr uint64_t kMaxZipMembers = 200'000;
/// Most bytes of a central directory.
inline constexpr uint64_t kMaxZipDirectoryBytes = 32 << 20;
/// Most bytes of one member's name.
inline constexpr uint64_t kMaxZipNameBytes = 1024;

/// What a reader can do with: members that lie in the file as they are, or deflated ones (RFC 1951) too.
enum class ZipMethods : uint8_t { stored, stored_and_deflated };

/// A member of an archive.
struct ZipMember {
  std::string name;
  uint64_t header_offset = 0;  ///< of its local header, bytes from the start of the file
  uint64_t data_offset = 0;    ///< bytes from the start of the file
  uint64_t bytes = 0;          ///< once unpacked, as declared
  uint64_t stored_bytes = 0;   ///< in the file
  uint32_t crc = 0;            ///< CRC-32 of the unpacked data, as declared; see zip_member_crc
  bool deflated = false;
};

/// The members of an archive, sorted by name.
struct ZipArchive {
  std::vector<ZipMember> members;
  uint64_t comment_bytes = 0;   ///< of its comment
  uint64_t trailing_bytes = 0;  ///< after it

  /// Null when there is none of that name.
  const ZipMember* find(std::string_view name) const;
};

/// True for the first bytes of a file that is to be read as a zip archive; by these alone torch.load decides.
bool is_zip(std::string_view start);

/// Reads the central directory of a zip archive (APPNOTE 6.3, with its zip64 records) and checks it against
/// the local header and the data descriptor of every member, so that no two readers can see two archives in
/// one file: names, methods, sizes and checksums are equal, members do not overlap, nothing precedes the
/// first one, and no other end record follows the directory's. Reads headers only, no data. Throws
/// Error(invalid_zip), and Error(unsupported_format) for members of another method, encrypted ones, and
/// archives of several disks; offsets are those of the record at fault.
ZipArchive read_zip_archive(const ByteSource& source, ZipMethods methods = ZipMethods::stored);

/// The CRC-32 of a stored member's data (polynomial of IEEE 802.3), read piece by piece.
uint32_t zip_member_crc(const ByteSource& source, const ZipMember& member);

}  // namespace hfload
