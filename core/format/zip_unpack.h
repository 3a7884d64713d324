#pragma once

#include <cstdint>
#include <string>

#include "core/base/file.h"
#include "core/format/zip_archive.h"

namespace hfload {

/// What the unpacked members of one archive may take: so many bytes, or so many times the file's size.
inline constexpr uint64_t kMaxRewrittenBytes = uint64_t{1} << 30, kMaxRewrittenRatio = 50;

/// Whether an archive that was read with ZipMethods::stored_and_deflated has deflated members.
bool has_deflated_members(const ZipArchive& archive);

/// Writes the members of an archive, inflated, as another archive of stored members, and checks the CRC-32 of
/// each. The new file lies in `directory` and has no name; it is gone once it is closed. Its `path` is that
/// of `file`, for messages, and offsets are those of the new file. Takes 1 MiB of memory. Throws
/// Error(invalid_zip) for a member that is damaged, Error(unsupported_format) where the members pass the
/// limits above, Error(no_space) before anything is written where the directory's disk has too little room,
/// and what reading and writing throw.
RegularFile unpack_zip(const RegularFile& file, const ZipArchive& archive, const std::string& directory);

}  // namespace hfload
