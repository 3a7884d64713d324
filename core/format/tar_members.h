#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/format/byte_source.h"

namespace hfload {

inline constexpr uint64_t kTarBlockBytes = 512;

/// Whether a block is the header of a tar archive's member, of any of its formats: its checksum is right.
bool is_tar_header(std::string_view block);

struct TarMember {
  std::string name;
  uint64_t data_offset = 0, bytes = 0;  ///< of its data, from the start of the source
  bool is_file = false;                 ///< not a folder, a link or a device
  bool is_sparse = false;               ///< its data are not what they stand for: holes are left out
};

/// Goes through the members of a tar archive: the formats v7, ustar, GNU and pax.
class TarReader {
 public:
  /// The archive lies in source[begin, end); the source must outlive it.
  TarReader(const ByteSource& source, uint64_t begin, uint64_t end)
      : source_(source), at_(begin), end_(end) {}

  /// The next member; nothing at the end of the archive. Throws Error(invalid_tar) for a header that is none,
  /// for a size that is no number, and where the archive ends within a member.
  std::optional<TarMember> next();
  /// Where the next header is, or once next() has given nothing, where the archive has ended.
  uint64_t position() const { return at_; }

 private:
  /// What stands in headers before that of a member, about it.
  struct Extension {
    std::string name;
    std::optional<uint64_t> bytes;
    bool is_sparse = false;
  };
  void read_extension(char type, uint64_t bytes, Extension& extension) const;

  const ByteSource& source_;
  uint64_t at_, end_;
};

}  // namespace hfload
