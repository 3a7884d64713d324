#include "core/format/zip_unpack.h"

#include <fmt/core.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <span>
#include <string_view>
#include <vector>

#include "core/base/crc32.h"
#include "core/base/error.h"
#include "core/base/system_error.h"
#include "core/base/units.h"
#include "core/format/unpack.h"
#include "core/format/zip_directory.h"

namespace hfload {
namespace {

constexpr uint64_t kBufferBytes = 1 << 20;
constexpr uint64_t kVersion = 45;  // needed for zip64
constexpr std::string_view kTemporaryDirectory =
    "TMPDIR names the directory for temporary files: set it to one with enough room.";

void append(std::string& to, uint64_t value, unsigned count) {
  for (; count > 0; --count, value >>= 8) to += static_cast<char>(value & 0xFF);
}

/// What local header and central directory have in common, from the version on (APPNOTE 6.3, 4.3.7). Sizes
/// stand in the zip64 extra field.
void append_header(std::string& to, const ZipMember& member, uint64_t extra_bytes) {
  append(to, kVersion, 2);
  append(to, 0, 8);  // flags, method, time and date
  append(to, member.crc, 4);
  append(to, kZipIn64Bits, 4);
  append(to, kZipIn64Bits, 4);
  append(to, member.name.size(), 2);
  append(to, extra_bytes, 2);
}

void append_zip64_extra(std::string& to, const ZipMember& member, uint64_t bytes) {
  append(to, 1, 2);
  append(to, bytes, 2);
  append(to, member.bytes, 8);
  append(to, member.bytes, 8);
}

class Unzipper {
 public:
  Unzipper(const RegularFile& file, const std::string& directory)
      : file_(file), source_(file), directory_(directory), buffer_(kBufferBytes) {}

  RegularFile run(const ZipArchive& archive) {
    require_room(archive);
    out_ = create_unnamed_file(directory_);
    std::string central;
    for (const ZipMember& member : archive.members) {
      add_to_directory(member, central);
      std::string head = "PK\x03\x04";
      append_header(head, member, 20);
      head += member.name;
      append_zip64_extra(head, member, 16);
      write(head);
      copy(member);
    }
    finish(archive.members.size(), central);
    require_unchanged(file_);
    return adopt_regular_file(std::move(out_), file_.path);
  }

 private:
  void require_room(const ZipArchive& archive) const {
    uint64_t bytes = 0;
    for (const ZipMember& member : archive.members) bytes += member.bytes;
    const uint64_t most = std::max(kMaxRewrittenBytes, kMaxRewrittenRatio * file_.identity.bytes);
    if (bytes > most) {
      throw Error(ErrorCode::unsupported_format,
                  fmt::format("the archive's members take {} once they are unpacked, of a file of {}",
                              format_byte_size(static_cast<double>(bytes)),
                              format_byte_size(static_cast<double>(file_.identity.bytes))))
          .with_hint("Weights are hardly ever so alike. Unpack the file with unzip, and zip it with zip -0.");
    }
    struct statvfs status {};
    if (statvfs(directory_.c_str(), &status) != 0) {
      throw system_error("looking for room for the unpacked archive", errno, directory_)
          .with_hint(std::string(kTemporaryDirectory));
    }
    const uint64_t free = uint64_t{status.f_bavail} * status.f_frsize;
    if (bytes <= free) return;
    throw Error(ErrorCode::no_space,
                fmt::format("the archive's members are compressed and take {} once they are unpacked; {} are "
                            "free in {}",
                            format_byte_size(static_cast<double>(bytes)),
                            format_byte_size(static_cast<double>(free)), directory_))
        .with_hint(std::string(kTemporaryDirectory));
  }

  void add_to_directory(const ZipMember& member, std::string& central) const {
    central += "PK\x01\x02";
    append(central, kVersion, 2);
    append_header(central, member, 28);
    append(central, 0, 10);  // comment, disk, attributes
    append(central, kZipIn64Bits, 4);
    central += member.name;
    append_zip64_extra(central, member, 24);
    append(central, at_, 8);
  }

  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  void write(std::span<const std::byte> bytes) {
    write_exactly(out_.get(), at_, bytes, directory_);
    at_ += bytes.size();
  }

  void copy(const ZipMember& member) {
    uint64_t done = 0;
    uint32_t crc = 0;
    const auto add = [&](std::span<const std::byte> piece) {
      crc = crc32(crc, piece);
      done += piece.size();
      write(piece);
    };
    if (member.deflated) {
      inflate(member, add);
    } else {
      while (done < member.bytes) {
        const auto piece = std::span(buffer_).first(std::min(kBufferBytes, member.bytes - done));
        source_.read(member.data_offset + done, piece);
        add(piece);
      }
    }
    if (done != member.bytes || crc != member.crc)
      throw damaged(member, fmt::format("the size or the checksum of member '{}' is wrong", member.name));
  }

  template <class Add>
  void inflate(const ZipMember& member, Add&& add) {
    const uint64_t end = member.data_offset + member.stored_bytes;
    try {
      Unpacker unpacker(source_, member.data_offset, end, Packing::deflate, member.bytes);
      while (const size_t got = unpacker.read(buffer_)) add(std::span(buffer_).first(got));
      if (unpacker.position() == end) return;
    } catch (const Error& error) {
      if (error.exit_status() != 3 && error.exit_status() != 4) throw;
    }
    throw damaged(member, fmt::format("member '{}' cannot be unpacked to its size", member.name));
  }

  static Error damaged(const ZipMember& member, std::string message) {
    return Error(ErrorCode::invalid_zip, std::move(message))
        .with_offset(member.data_offset)
        .with_hint("The file is damaged: download or export it again.");
  }

  void finish(uint64_t members, const std::string& central) {
    const uint64_t directory_at = at_;
    write(central);
    const uint64_t end_at = at_;
    std::string end = "PK\x06\x06";
    append(end, 44, 8);
    append(end, kVersion, 2);
    append(end, kVersion, 2);
    append(end, 0, 8);  // disks
    append(end, members, 8);
    append(end, members, 8);
    append(end, central.size(), 8);
    append(end, directory_at, 8);
    end += "PK\x06\x07";
    append(end, 0, 4);
    append(end, end_at, 8);
    append(end, 1, 4);
    end += "PK\x05\x06";
    append(end, 0, 4);
    append(end, 0xFFFF, 2);
    append(end, 0xFFFF, 2);
    append(end, kZipIn64Bits, 4);
    append(end, kZipIn64Bits, 4);
    append(end, 0, 2);
    write(end);
  }

  const RegularFile& file_;
  FileSource source_;
  const std::string& directory_;
  std::vector<std::byte> buffer_;
  FileDescriptor out_;
  uint64_t at_ = 0;  ///< in the new file
};

}  // namespace

bool has_deflated_members(const ZipArchive& archive) {
  return std::ranges::any_of(archive.members, &ZipMember::deflated);
}

RegularFile unpack_zip(const RegularFile& file, const ZipArchive& archive, const std::string& directory) {
  try {
    return Unzipper(file, directory).run(archive);
  } catch (Error& error) {
    if (error.path().empty()) error.with_path(file.path);
    throw;
  }
}

}  // namespace hfload
