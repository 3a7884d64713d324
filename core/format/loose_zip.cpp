#include "core/format/loose_zip.h"

#include <fmt/core.h>

#include <algorithm>

#include "core/format/zip_archive.h"
#include "core/format/zip_directory.h"

namespace hfload {
namespace {

constexpr uint64_t kEndBytes = 22, kMaxCommentBytes = 0xFFFF, kLocatorBytes = 20, kZip64EndBytes = 56,
                   kLocalHeaderBytes = 30, kCentralHeaderBytes = 46;
constexpr uint16_t kEncryptedFlags = 1 << 0 | 1 << 6 | 1 << 13, kZip64ExtraId = 1;

/// Where the last end record is.
std::optional<uint64_t> find_end_record(const ByteSource& source, uint64_t begin, uint64_t end) {
  if (end - begin < kEndBytes) return std::nullopt;
  constexpr std::string_view kSignature = "PK\x05\x06";
  if (read_zip_text(source, end - kEndBytes, kSignature.size()) == kSignature) return end - kEndBytes;
  const uint64_t bytes = std::min(end - begin, kEndBytes + kMaxCommentBytes);
  const std::string tail = read_zip_text(source, end - bytes, bytes);
  const size_t found = tail.rfind(kSignature, tail.size() - kEndBytes);
  return found == std::string::npos ? std::nullopt : std::optional(end - bytes + found);
}

/// Puts 64-bit values of the zip64 extra field in the place of those that refer to it.
void widen(std::string_view extra, std::initializer_list<uint64_t*> fields) {
  while (extra.size() >= 4) {
    const uint16_t id = zip_number16(extra, 0), bytes = zip_number16(extra, 2);
    std::string_view values = extra.substr(4, bytes);
    extra.remove_prefix(std::min<size_t>(extra.size(), 4 + size_t{bytes}));
    if (id != kZip64ExtraId) continue;
    for (uint64_t* const field : fields) {
      if (*field != kZipIn64Bits || values.size() < 8) continue;
      *field = zip_number(values, 0, 8);
      values.remove_prefix(8);
    }
  }
}

class Reader {
 public:
  Reader(const ByteSource& source, uint64_t begin, uint64_t end)
      : source_(source), begin_(begin), end_(end) {}

  std::optional<LooseZip> read() && {
    if (!find_directory()) return std::nullopt;
    read_directory();
    std::ranges::sort(zip_.members, {}, &LooseZipMember::data_offset);
    drop_overlaps();
    return std::move(zip_);
  }

 private:
  bool find_directory() {
    const std::optional<uint64_t> record = find_end_record(source_, begin_, end_);
    if (!record) return false;
    const std::string text = read_zip_text(source_, *record, kEndBytes);
    directory_bytes_ = zip_number32(text, 12);
    uint64_t offset = zip_number32(text, 16);
    zip_.end = std::min(end_, *record + kEndBytes + zip_number16(text, 20));
    uint64_t directory_end = *record;
    if (*record - begin_ >= kLocatorBytes + kZip64EndBytes) {
      const std::string locator = read_zip_text(source_, *record - kLocatorBytes, kLocatorBytes);
      const uint64_t wide_at = *record - kLocatorBytes - kZip64EndBytes;
      const std::string wide = read_zip_text(source_, wide_at, kZip64EndBytes);
      if (locator.starts_with("PK\x06\x07") && wide.starts_with("PK\x06\x06")) {
        directory_bytes_ = zip_number(wide, 40, 8);
        offset = zip_number(wide, 48, 8);
        directory_end = wide_at;
      }
    }
    if (directory_bytes_ > directory_end - begin_ || offset > directory_end - begin_ - directory_bytes_)
      return false;
    directory_at_ = directory_end - directory_bytes_;
    zip_.begin = directory_at_ - offset;
    return true;
  }

  void read_directory() {
    if (directory_bytes_ > kMaxZipDirectoryBytes) {
      zip_.faults.push_back(
          unsupported_zip("the archive has a directory of more than 32 MiB", directory_at_));
      return;
    }
    const std::string text = read_zip_text(source_, directory_at_, directory_bytes_);
    for (std::string_view rest = text;
         rest.size() >= kCentralHeaderBytes && rest.starts_with("PK\x01\x02");) {
      const size_t name_bytes = zip_number16(rest, 28), extra_bytes = zip_number16(rest, 30);
      const size_t bytes = kCentralHeaderBytes + name_bytes + extra_bytes + zip_number16(rest, 32);
      if (bytes > rest.size()) return;
      if (zip_.members.size() == kMaxZipMembers) {
        zip_.faults.push_back(unsupported_zip("the archive has more than 200,000 members", directory_at_));
        return;
      }
      add_member(rest, rest.substr(kCentralHeaderBytes, name_bytes),
                 rest.substr(kCentralHeaderBytes + name_bytes, extra_bytes));
      rest.remove_prefix(bytes);
    }
  }

  void add_member(std::string_view entry, std::string_view name, std::string_view extra) {
    LooseZipMember member;
    member.name = name;
    member.is_encrypted = zip_number16(entry, 8) & kEncryptedFlags;
    member.method = zip_number16(entry, 10);
    member.crc = zip_number32(entry, 16);
    member.packed_bytes = zip_number32(entry, 20);
    member.bytes = zip_number32(entry, 24);
    uint64_t offset = zip_number32(entry, 42);
    widen(extra, {&member.bytes, &member.packed_bytes, &offset});
    const auto refuse = [&](std::string_view what) {
      if (zip_.faults.size() < 10)
        zip_.faults.push_back(invalid_zip(fmt::format("a member of the archive {}", what), offset));
    };
    const uint64_t room = directory_at_ - zip_.begin;
    if (offset > room || kLocalHeaderBytes > room - offset) return refuse("lies outside of it");
    const uint64_t header_at = zip_.begin + offset;
    const std::string head = read_zip_text(source_, header_at, kLocalHeaderBytes);
    if (!head.starts_with("PK\x03\x04")) return refuse("has no local header");
    const uint64_t local_name_bytes = zip_number16(head, 26);
    const uint64_t head_bytes = kLocalHeaderBytes + local_name_bytes + zip_number16(head, 28);
    if (head_bytes > room - offset || member.packed_bytes > room - offset - head_bytes)
      return refuse("lies outside of it");
    if (zip_number16(head, 8) != member.method ||
        read_zip_text(source_, header_at + kLocalHeaderBytes, local_name_bytes) != name)
      refuse("has another name or method in its local header");
    member.data_offset = header_at + head_bytes;
    zip_.members.push_back(std::move(member));
  }

  /// So that no byte is looked at twice, however many entries refer to it.
  void drop_overlaps() {
    uint64_t end = 0;
    bool found = false;
    std::erase_if(zip_.members, [&](const LooseZipMember& member) {
      const bool overlaps = member.data_offset < end;
      found = found || overlaps;
      if (!overlaps) end = member.data_offset + member.packed_bytes;
      return overlaps;
    });
    if (found) zip_.faults.push_back(invalid_zip("members of the archive overlap", zip_.begin));
  }

  const ByteSource& source_;
  uint64_t begin_, end_, directory_at_ = 0, directory_bytes_ = 0;
  LooseZip zip_;
};

}  // namespace

std::optional<LooseZip> read_last_zip(const ByteSource& source, uint64_t begin, uint64_t end) {
  return Reader(source, begin, end).read();
}

}  // namespace hfload
