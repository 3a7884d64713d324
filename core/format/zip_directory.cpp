#include "core/format/zip_directory.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <span>

#include "core/base/checked.h"
#include "core/format/zip_archive.h"

namespace hfload {
namespace {

constexpr uint32_t kZip64End = 0x06064b50, kZip64Locator = 0x07064b50;
constexpr uint64_t kEndBytes = 22, kZip64EndBytes = 56, kZip64LocatorBytes = 20, kMaxBehindBytes = 0xFFFF;

class EndReader {
 public:
  explicit EndReader(const ByteSource& source) : source_(source) {}

  ZipDirectory find() const {
    const uint64_t size = source_.bytes(), end_at = find_end_record();
    const std::string end = read_zip_text(source_, end_at, kEndBytes);
    const uint64_t behind_bytes = size - end_at - kEndBytes, comment_bytes = zip_number16(end, 20);
    if (comment_bytes > behind_bytes) throw invalid_zip("the archive ends within its comment", size);
    if (zip_number16(end, 4) != 0 || zip_number16(end, 6) != 0)
      throw unsupported_zip("the archive is split over several disks", end_at);
    ZipDirectory directory{zip_number32(end, 16), zip_number32(end, 12), zip_number16(end, 10), comment_bytes,
                           behind_bytes - comment_bytes};
    if (zip_number16(end, 8) != directory.members)
      throw unsupported_zip("the archive is split over several disks", end_at);
    const uint64_t end_of_directory = apply_zip64_end(directory, end_at);

    const std::optional<uint64_t> reached = checked_add(directory.offset, directory.bytes);
    if (reached != end_of_directory) {
      throw invalid_zip(
          fmt::format("the central directory is said to be bytes {} to {}, and its end record begins at {}",
                      directory.offset, reached.value_or(UINT64_MAX), end_of_directory),
          end_at);
    }
    if (directory.bytes > kMaxZipDirectoryBytes || directory.members > kMaxZipMembers) {
      throw invalid_zip(
          fmt::format("the archive has {} members in a directory of {} bytes; at most {} and {} are allowed",
                      directory.members, directory.bytes, kMaxZipMembers, kMaxZipDirectoryBytes),
          end_at);
    }
    return directory;
  }

 private:
  uint64_t find_end_record() const {
    const uint64_t size = source_.bytes(), tail_bytes = std::min(size, kEndBytes + kMaxBehindBytes);
    const std::string tail = read_zip_text(source_, size - tail_bytes, tail_bytes);
    const size_t found = tail.rfind("PK\x05\x06");
    if (found == std::string::npos)
      throw invalid_zip("the archive has no end record; it may be cut off", size);
    if (tail_bytes - found < kEndBytes) throw invalid_zip("the archive ends within its end record", size);
    return size - tail_bytes + found;
  }

  /// Reads the zip64 end record, where there is one, and holds it against the other. Returns where the
  /// central directory has to end.
  uint64_t apply_zip64_end(ZipDirectory& directory, uint64_t end_at) const {
    const bool needed =
        directory.offset == kZipIn64Bits || directory.bytes == kZipIn64Bits || directory.members == 0xFFFF;
    std::string locator;
    if (end_at >= kZip64LocatorBytes)
      locator = read_zip_text(source_, end_at - kZip64LocatorBytes, kZip64LocatorBytes);
    if (locator.empty() || zip_number32(locator, 0) != kZip64Locator) {
      if (needed) throw invalid_zip("the archive refers to a zip64 end record that is not there", end_at);
      return end_at;
    }
    const uint64_t locator_at = end_at - kZip64LocatorBytes;
    if (zip_number32(locator, 4) != 0 || zip_number32(locator, 16) > 1)
      throw unsupported_zip("the archive is split over several disks", locator_at);
    const uint64_t at = zip_number(locator, 8, 8);
    if (locator_at < kZip64EndBytes || at != locator_at - kZip64EndBytes)
      throw invalid_zip("the zip64 end record is not in front of its locator", locator_at);
    const std::string end = read_zip_text(source_, at, kZip64EndBytes);
    if (zip_number32(end, 0) != kZip64End || zip_number(end, 4, 8) != kZip64EndBytes - 12)
      throw invalid_zip("the zip64 end record is malformed", at);
    if (zip_number32(end, 16) != 0 || zip_number32(end, 20) != 0)
      throw unsupported_zip("the archive is split over several disks", at);
    const ZipDirectory wide{zip_number(end, 48, 8), zip_number(end, 40, 8), zip_number(end, 32, 8)};
    const auto agree = [](uint64_t narrow, uint64_t value, uint64_t in_64_bits) {
      return narrow == value || narrow == in_64_bits;
    };
    if (zip_number(end, 24, 8) != wide.members || !agree(directory.offset, wide.offset, kZipIn64Bits) ||
        !agree(directory.bytes, wide.bytes, kZipIn64Bits) ||
        !agree(directory.members, wide.members, 0xFFFF)) {
      throw invalid_zip("the two end records of the archive disagree", at);
    }
    directory.offset = wide.offset;
    directory.bytes = wide.bytes;
    directory.members = wide.members;
    return at;
  }

  const ByteSource& source_;
};

}  // namespace

ZipDirectory find_zip_directory(const ByteSource& source) { return EndReader(source).find(); }

Error invalid_zip(std::string message, uint64_t offset) {
  return Error(ErrorCode::invalid_zip, std::move(message))
      .with_offset(offset)
      .with_hint("The file is damaged or was tampered with: download or export it again.");
}

Error unsupported_zip(std::string message, uint64_t offset) {
  return Error(ErrorCode::unsupported_format, std::move(message))
      .with_offset(offset)
      .with_hint("torch.save neither compresses nor encrypts; TorchScript programs and other writers may.");
}

uint64_t zip_number(std::string_view bytes, uint64_t at, unsigned count) {
  uint64_t value = 0;
  for (unsigned i = 0; i < count; ++i) value |= uint64_t{static_cast<uint8_t>(bytes[at + i])} << (8 * i);
  return value;
}
uint16_t zip_number16(std::string_view bytes, uint64_t at) {
  return static_cast<uint16_t>(zip_number(bytes, at, 2));
}
uint32_t zip_number32(std::string_view bytes, uint64_t at) {
  return static_cast<uint32_t>(zip_number(bytes, at, 4));
}

std::string read_zip_text(const ByteSource& source, uint64_t offset, uint64_t count) {
  std::string text(count, '\0');
  source.read(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace hfload
