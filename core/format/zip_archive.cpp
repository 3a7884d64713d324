#include "core/format/zip_archive.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "core/base/checked.h"
#include "core/base/crc32.h"
#include "core/base/error.h"

namespace hfload {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kDescriptor = 0x08074b50;
constexpr uint32_t kEnd = 0x06054b50, kZip64End = 0x06064b50, kZip64Locator = 0x07064b50;
constexpr uint64_t kLocalHeaderBytes = 30, kCentralHeaderBytes = 46, kEndBytes = 22, kZip64EndBytes = 56,
                   kZip64LocatorBytes = 20, kMaxCommentBytes = 0xFFFF;
constexpr uint16_t kSizesFollowData = 1 << 3;
constexpr uint16_t kEncryptedFlags = 1 << 0 | 1 << 6 | 1 << 13;
// Compression hints, sizes in a data descriptor, names in UTF-8: flags under which stored data are read
// alike.
constexpr uint16_t kKnownFlags = 1 << 1 | 1 << 2 | kSizesFollowData | 1 << 11;
constexpr uint32_t kIn64Bits = 0xFFFFFFFF;
constexpr uint16_t kZip64ExtraId = 1;

Error invalid(std::string message, uint64_t offset) {
  return Error(ErrorCode::invalid_zip, std::move(message))
      .with_offset(offset)
      .with_hint("The file is damaged or was tampered with: download or export it again.");
}

Error unsupported(std::string message, uint64_t offset) {
  return Error(ErrorCode::unsupported_format, std::move(message))
      .with_offset(offset)
      .with_hint("torch.save neither compresses nor encrypts; TorchScript programs and other writers may.");
}

uint64_t number(std::string_view bytes, uint64_t at, unsigned count) {
  uint64_t value = 0;
  for (unsigned i = 0; i < count; ++i) value |= uint64_t{static_cast<uint8_t>(bytes[at + i])} << (8 * i);
  return value;
}
uint16_t number16(std::string_view bytes, uint64_t at) { return static_cast<uint16_t>(number(bytes, at, 2)); }
uint32_t number32(std::string_view bytes, uint64_t at) { return static_cast<uint32_t>(number(bytes, at, 4)); }

std::string read_text(const ByteSource& source, uint64_t offset, uint64_t count) {
  std::string text(count, '\0');
  source.read(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

/// Where the central directory is.
struct Directory {
  uint64_t offset = 0, bytes = 0, members = 0;
};

/// What both headers of a member say about it.
struct Header {
  uint16_t flags = 0, method = 0;
  uint32_t crc = 0;
  uint64_t stored_bytes = 0, bytes = 0, offset = 0;
};

/// Puts the 64-bit values of a zip64 extra field in the place of the fields that refer to it.
void read_zip64_extra(std::string_view extra, std::span<uint64_t* const> fields, uint64_t at) {
  const bool wanted = std::ranges::any_of(fields, [](const uint64_t* f) { return *f == kIn64Bits; });
  if (!wanted) return;
  while (extra.size() >= 4) {
    const uint16_t id = number16(extra, 0), size = number16(extra, 2);
    if (size > extra.size() - 4) break;
    if (id == kZip64ExtraId) {
      std::string_view values = extra.substr(4, size);
      for (uint64_t* field : fields) {
        if (*field != kIn64Bits) continue;
        if (values.size() < 8) throw invalid("a zip64 extra field lacks a value", at);
        *field = number(values, 0, 8);
        values.remove_prefix(8);
      }
      return;
    }
    extra.remove_prefix(4 + uint64_t{size});
  }
  throw invalid("a member refers to a zip64 extra field that is not there", at);
}

void check_name(std::string_view name, uint64_t at) {
  const auto refuse = [&](std::string_view why) {
    throw invalid(fmt::format("the name of a member {}", why), at);
  };
  if (name.empty() || name.size() > kMaxZipNameBytes)
    refuse(name.empty() ? "is empty" : "is longer than 1024 bytes");
  if (!simdjson::validate_utf8(name.data(), name.size())) refuse("is not valid UTF-8");
  if (name.find('\0') != std::string_view::npos || name.find('\\') != std::string_view::npos)
    refuse("has a NUL or a backslash");
  if (name.front() == '/' || (name.size() > 1 && name[1] == ':')) refuse("is an absolute path");
  for (size_t begin = 0; begin < name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..")
      refuse("has an empty component, '.' or '..', which can leave a directory");
    begin = end + 1;
  }
}

class Reader {
 public:
  explicit Reader(const ByteSource& source) : source_(source) {}

  ZipArchive read() && {
    directory_ = find_directory();
    read_central_directory();
    check_local_headers();
    ZipArchive archive;
    archive.members = std::move(members_);
    std::ranges::sort(archive.members, {}, &ZipMember::name);
    const auto twice = std::ranges::adjacent_find(archive.members, {}, &ZipMember::name);
    if (twice != archive.members.end()) {
      throw invalid(fmt::format("the archive has two members of the name '{}'", twice->name),
                    std::max(twice->header_offset, (twice + 1)->header_offset));
    }
    return archive;
  }

 private:
  Directory find_directory() const {
    const uint64_t size = source_.bytes();
    if (size < kEndBytes) throw invalid("the archive ends before its end record", size);
    const uint64_t end_at = size - kEndBytes;
    const std::string end = read_text(source_, end_at, kEndBytes);
    if (number32(end, 0) != kEnd) throw no_end_record();
    if (number16(end, 20) != 0) throw invalid("the archive ends within its comment", size);
    if (number16(end, 4) != 0 || number16(end, 6) != 0)
      throw unsupported("the archive is split over several disks", end_at);
    Directory directory{number32(end, 16), number32(end, 12), number16(end, 10)};
    if (number16(end, 8) != directory.members)
      throw unsupported("the archive is split over several disks", end_at);
    const uint64_t end_of_directory = apply_zip64_end(directory, end_at);

    const std::optional<uint64_t> reached = checked_add(directory.offset, directory.bytes);
    if (reached != end_of_directory) {
      throw invalid(
          fmt::format("the central directory is said to be bytes {} to {}, and its end record begins at {}",
                      directory.offset, reached.value_or(UINT64_MAX), end_of_directory),
          end_at);
    }
    if (directory.bytes > kMaxZipDirectoryBytes || directory.members > kMaxZipMembers) {
      throw invalid(
          fmt::format("the archive has {} members in a directory of {} bytes; at most {} and {} are allowed",
                      directory.members, directory.bytes, kMaxZipMembers, kMaxZipDirectoryBytes),
          end_at);
    }
    return directory;
  }

  Error no_end_record() const {
    const uint64_t size = source_.bytes();
    const uint64_t tail_bytes = std::min(size, kEndBytes + kMaxCommentBytes);
    const std::string tail = read_text(source_, size - tail_bytes, tail_bytes);
    const size_t found = tail.rfind("PK\x05\x06");
    if (found == std::string::npos) return invalid("the archive has no end record; it may be cut off", size);
    return invalid(
        "bytes follow the archive's end record, or it has a comment",
        size - tail_bytes + found + kEndBytes > size ? size : size - tail_bytes + found + kEndBytes);
  }

  /// Reads the zip64 end record, where there is one, and holds it against the other. Returns where the
  /// central directory has to end.
  uint64_t apply_zip64_end(Directory& directory, uint64_t end_at) const {
    const bool needed =
        directory.offset == kIn64Bits || directory.bytes == kIn64Bits || directory.members == 0xFFFF;
    std::string locator;
    if (end_at >= kZip64LocatorBytes)
      locator = read_text(source_, end_at - kZip64LocatorBytes, kZip64LocatorBytes);
    if (locator.empty() || number32(locator, 0) != kZip64Locator) {
      if (needed) throw invalid("the archive refers to a zip64 end record that is not there", end_at);
      return end_at;
    }
    const uint64_t locator_at = end_at - kZip64LocatorBytes;
    if (number32(locator, 4) != 0 || number32(locator, 16) > 1)
      throw unsupported("the archive is split over several disks", locator_at);
    const uint64_t at = number(locator, 8, 8);
    if (locator_at < kZip64EndBytes || at != locator_at - kZip64EndBytes)
      throw invalid("the zip64 end record is not in front of its locator", locator_at);
    const std::string end = read_text(source_, at, kZip64EndBytes);
    if (number32(end, 0) != kZip64End || number(end, 4, 8) != kZip64EndBytes - 12)
      throw invalid("the zip64 end record is malformed", at);
    if (number32(end, 16) != 0 || number32(end, 20) != 0)
      throw unsupported("the archive is split over several disks", at);
    const Directory wide{number(end, 48, 8), number(end, 40, 8), number(end, 32, 8)};
    const auto agree = [](uint64_t narrow, uint64_t value, uint64_t in_64_bits) {
      return narrow == value || narrow == in_64_bits;
    };
    if (number(end, 24, 8) != wide.members || !agree(directory.offset, wide.offset, kIn64Bits) ||
        !agree(directory.bytes, wide.bytes, kIn64Bits) || !agree(directory.members, wide.members, 0xFFFF)) {
      throw invalid("the two end records of the archive disagree", at);
    }
    directory = wide;
    return at;
  }

  void read_central_directory() {
    ByteReader reader(source_, directory_.offset, directory_.offset + directory_.bytes);
    std::string header, rest;
    members_.reserve(std::min(directory_.members, directory_.bytes / kCentralHeaderBytes));
    while (reader.remaining() > 0) {
      const uint64_t at = reader.position();
      if (members_.size() == directory_.members || reader.remaining() < kCentralHeaderBytes)
        throw invalid("the central directory does not have the size that its members need", at);
      header.clear();
      reader.append_to(header, kCentralHeaderBytes);
      if (number32(header, 0) != kCentralHeader)
        throw invalid("an entry of the central directory has no signature", at);
      const uint64_t name_bytes = number16(header, 28), extra_bytes = number16(header, 30),
                     comment_bytes = number16(header, 32);
      if (name_bytes + extra_bytes + comment_bytes > reader.remaining())
        throw invalid("an entry of the central directory leaves it", at);
      rest.clear();
      reader.append_to(rest, name_bytes + extra_bytes);
      reader.skip(comment_bytes);
      add_member(header, std::string_view(rest).substr(0, name_bytes),
                 std::string_view(rest).substr(name_bytes), at);
    }
    if (members_.size() != directory_.members)
      throw invalid(fmt::format("the archive has {} members and is said to have {}", members_.size(),
                                directory_.members),
                    directory_.offset + directory_.bytes);
  }

  void add_member(std::string_view text, std::string_view name, std::string_view extra, uint64_t at) {
    Header header{number16(text, 8),  number16(text, 10), number32(text, 16),
                  number32(text, 20), number32(text, 24), number32(text, 42)};
    check_name(name, at);
    if (header.flags & kEncryptedFlags) throw unsupported(fmt::format("member '{}' is encrypted", name), at);
    if (header.flags & ~kKnownFlags)
      throw invalid(
          fmt::format("member '{}' has flags {:#06x} that stored data do not have", name, header.flags), at);
    if (header.method != 0)
      throw unsupported(fmt::format("member '{}' is compressed (method {})", name, header.method), at);
    if (number16(text, 34) != 0) throw unsupported("the archive is split over several disks", at);
    uint64_t* const fields[] = {&header.bytes, &header.stored_bytes, &header.offset};
    read_zip64_extra(extra, fields, at);
    if (header.bytes != header.stored_bytes)
      throw invalid(fmt::format("member '{}' is stored, but has two sizes: {} and {} bytes", name,
                                header.stored_bytes, header.bytes),
                    at);
    if (header.offset > directory_.offset || header.bytes > directory_.offset - header.offset)
      throw invalid(fmt::format("member '{}' reaches beyond the members", name), at);
    if (name.back() == '/' && header.bytes != 0)
      throw invalid(fmt::format("member '{}' is a directory with data", name), at);
    members_.push_back({std::string(name), header.offset, 0, header.bytes, header.crc});
    flags_.push_back(header.flags);
  }

  void check_local_headers() {
    std::vector<uint32_t> order(members_.size());
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::sort(order, {}, [&](uint32_t i) { return members_[i].header_offset; });
    uint64_t end = 0;
    for (const uint32_t i : order) {
      ZipMember& member = members_[i];
      if (member.header_offset != end) {
        throw invalid(member.header_offset < end
                          ? fmt::format("member '{}' overlaps the member before it", member.name)
                          : fmt::format("{} bytes before member '{}' belong to none",
                                        member.header_offset - end, member.name),
                      member.header_offset);
      }
      end = check_local_header(member, flags_[i]);
    }
    if (end != directory_.offset)
      throw invalid(fmt::format("{} bytes after the last member belong to none", directory_.offset - end),
                    end);
  }

  /// Returns where the member ends, its data descriptor included.
  uint64_t check_local_header(ZipMember& member, uint16_t flags) const {
    const uint64_t at = member.header_offset;
    const auto refuse = [&](std::string_view what) {
      return invalid(fmt::format("{} of member '{}'", what, member.name), at);
    };
    const uint64_t head_bytes = kLocalHeaderBytes + member.name.size();
    if (head_bytes > directory_.offset - at) throw refuse("the central directory cuts off the local header");
    const std::string head = read_text(source_, at, head_bytes);
    if (number32(head, 0) != kLocalHeader) throw refuse("there is no local header");
    const uint64_t extra_bytes = number16(head, 28);
    if (number16(head, 26) != member.name.size() || head.substr(kLocalHeaderBytes) != member.name)
      throw refuse("the local header gives another name than that");
    if (number16(head, 6) != flags || number16(head, 8) != 0)
      throw refuse("local header and central directory disagree about the flags or the method");
    if (extra_bytes + member.bytes > directory_.offset - at - head_bytes)
      throw refuse("the central directory cuts off the data");
    uint64_t stored_bytes = number32(head, 18), bytes = number32(head, 22);
    const uint32_t crc = number32(head, 14);
    if (stored_bytes == kIn64Bits || bytes == kIn64Bits) {
      uint64_t* const fields[] = {&bytes, &stored_bytes};
      read_zip64_extra(read_text(source_, at + head_bytes, extra_bytes), fields, at);
    }
    const bool follow = flags & kSizesFollowData;
    const bool agree = (crc == member.crc || (follow && crc == 0)) &&
                       (bytes == member.bytes || (follow && bytes == 0)) &&
                       (stored_bytes == member.bytes || (follow && stored_bytes == 0));
    if (!agree) throw refuse("local header and central directory disagree about the size or the checksum");
    member.data_offset = at + head_bytes + extra_bytes;
    const uint64_t end = member.data_offset + member.bytes;
    return follow ? end + descriptor_bytes(member, end) : end;
  }

  /// A descriptor has 32-bit or 64-bit sizes, and a signature or none: nothing says which.
  uint64_t descriptor_bytes(const ZipMember& member, uint64_t at) const {
    const std::string text = read_text(source_, at, std::min<uint64_t>(24, directory_.offset - at));
    for (const unsigned signature_bytes : {4U, 0U}) {
      for (const unsigned size_bytes : {4U, 8U}) {
        const uint64_t needed = signature_bytes + 4 + 2 * size_bytes;
        if (text.size() < needed || (signature_bytes != 0 && number32(text, 0) != kDescriptor)) continue;
        if (number32(text, signature_bytes) == member.crc &&
            number(text, signature_bytes + 4, size_bytes) == member.bytes &&
            number(text, signature_bytes + 4 + size_bytes, size_bytes) == member.bytes) {
          return needed;
        }
      }
    }
    throw invalid(
        fmt::format("the data descriptor of member '{}' disagrees with the central directory", member.name),
        at);
  }

  const ByteSource& source_;
  Directory directory_;
  std::vector<ZipMember> members_;  ///< in the order of the central directory until the archive is complete
  std::vector<uint16_t> flags_;     ///< parallel to members_
};

}  // namespace

const ZipMember* ZipArchive::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(members, name, {}, &ZipMember::name);
  return found != members.end() && found->name == name ? &*found : nullptr;
}

bool is_zip(std::string_view start) { return start.starts_with(std::string_view("PK\x03\x04", 4)); }

ZipArchive read_zip_archive(const ByteSource& source) { return Reader(source).read(); }

uint32_t zip_member_crc(const ByteSource& source, const ZipMember& member) {
  constexpr uint64_t kBufferBytes = 64 << 10;
  std::vector<std::byte> buffer(std::min(kBufferBytes, member.bytes));
  uint32_t crc = 0;
  for (uint64_t done = 0; done < member.bytes; done += buffer.size()) {
    const std::span<std::byte> piece = std::span(buffer).first(std::min(kBufferBytes, member.bytes - done));
    source.read(member.data_offset + done, piece);
    crc = crc32(crc, piece);
  }
  return crc;
}

}  // namespace hfload
