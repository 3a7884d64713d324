#include "core/format/zip_archive.h"

#include <fmt/core.h>
#include <simdjson.h>

#include <algorithm>
#include <numeric>

#include "core/base/checked.h"
#include "core/base/crc32.h"
#include "core/base/error.h"
#include "core/format/zip_directory.h"

namespace hfload {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kDescriptor = 0x08074b50;
constexpr uint64_t kLocalHeaderBytes = 30, kCentralHeaderBytes = 46;
constexpr uint16_t kSizesFollowData = 1 << 3;
constexpr uint16_t kEncryptedFlags = 1 << 0 | 1 << 6 | 1 << 13;
// Compression hints, sizes in a data descriptor, names in UTF-8: flags under which stored data are read
// alike.
constexpr uint16_t kKnownFlags = 1 << 1 | 1 << 2 | kSizesFollowData | 1 << 11;
constexpr uint16_t kZip64ExtraId = 1, kDeflated = 8;
// No stream of RFC 1951 unpacks to more: a block's shortest match is 2 bits for 258 bytes.
constexpr uint64_t kMaxDeflateRatio = 1032;

/// What both headers of a member say about it.
struct Header {
  uint16_t flags = 0, method = 0;
  uint32_t crc = 0;
  uint64_t stored_bytes = 0, bytes = 0, offset = 0;
};

/// Puts the 64-bit values of a zip64 extra field in the place of the fields that refer to it.
void read_zip64_extra(std::string_view extra, std::span<uint64_t* const> fields, uint64_t at) {
  const bool wanted = std::ranges::any_of(fields, [](const uint64_t* f) { return *f == kZipIn64Bits; });
  if (!wanted) return;
  while (extra.size() >= 4) {
    const uint16_t id = zip_number16(extra, 0), size = zip_number16(extra, 2);
    if (size > extra.size() - 4) break;
    if (id == kZip64ExtraId) {
      std::string_view values = extra.substr(4, size);
      for (uint64_t* field : fields) {
        if (*field != kZipIn64Bits) continue;
        if (values.size() < 8) throw invalid_zip("a zip64 extra field lacks a value", at);
        *field = zip_number(values, 0, 8);
        values.remove_prefix(8);
      }
      return;
    }
    extra.remove_prefix(4 + uint64_t{size});
  }
  throw invalid_zip("a member refers to a zip64 extra field that is not there", at);
}

void check_name(std::string_view name, uint64_t at) {
  const auto refuse = [&](std::string_view why) {
    throw invalid_zip(fmt::format("the name of a member {}", why), at);
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
  Reader(const ByteSource& source, ZipMethods methods) : source_(source), methods_(methods) {}

  ZipArchive read() && {
    directory_ = find_zip_directory(source_);
    read_central_directory();
    check_local_headers();
    ZipArchive archive;
    archive.members = std::move(members_);
    archive.comment_bytes = directory_.comment_bytes;
    archive.trailing_bytes = directory_.trailing_bytes;
    std::ranges::sort(archive.members, {}, &ZipMember::name);
    const auto twice = std::ranges::adjacent_find(archive.members, {}, &ZipMember::name);
    if (twice != archive.members.end()) {
      throw invalid_zip(fmt::format("the archive has two members of the name '{}'", twice->name),
                        std::max(twice->header_offset, (twice + 1)->header_offset));
    }
    return archive;
  }

 private:
  void read_central_directory() {
    ByteReader reader(source_, directory_.offset, directory_.offset + directory_.bytes);
    std::string header, rest;
    members_.reserve(std::min(directory_.members, directory_.bytes / kCentralHeaderBytes));
    while (reader.remaining() > 0) {
      const uint64_t at = reader.position();
      if (members_.size() == directory_.members || reader.remaining() < kCentralHeaderBytes)
        throw invalid_zip("the central directory does not have the size that its members need", at);
      header.clear();
      reader.append_to(header, kCentralHeaderBytes);
      if (zip_number32(header, 0) != kCentralHeader)
        throw invalid_zip("an entry of the central directory has no signature", at);
      const uint64_t name_bytes = zip_number16(header, 28), extra_bytes = zip_number16(header, 30),
                     comment_bytes = zip_number16(header, 32);
      if (name_bytes + extra_bytes + comment_bytes > reader.remaining())
        throw invalid_zip("an entry of the central directory leaves it", at);
      rest.clear();
      reader.append_to(rest, name_bytes + extra_bytes);
      reader.skip(comment_bytes);
      add_member(header, std::string_view(rest).substr(0, name_bytes),
                 std::string_view(rest).substr(name_bytes), at);
    }
    if (members_.size() != directory_.members)
      throw invalid_zip(fmt::format("the archive has {} members and is said to have {}", members_.size(),
                                    directory_.members),
                        directory_.offset + directory_.bytes);
  }

  void add_member(std::string_view text, std::string_view name, std::string_view extra, uint64_t at) {
    Header header{zip_number16(text, 8),  zip_number16(text, 10), zip_number32(text, 16),
                  zip_number32(text, 20), zip_number32(text, 24), zip_number32(text, 42)};
    check_name(name, at);
    if (header.flags & kEncryptedFlags)
      throw unsupported_zip(fmt::format("member '{}' is encrypted", name), at);
    if (header.flags & ~kKnownFlags)
      throw invalid_zip(fmt::format("member '{}' has flags {:#06x} that are not known", name, header.flags),
                        at);
    const bool deflated = header.method == kDeflated;
    if (header.method != 0 && !(deflated && methods_ == ZipMethods::stored_and_deflated))
      throw unsupported_zip(fmt::format("member '{}' is compressed (method {})", name, header.method), at);
    if (zip_number16(text, 34) != 0) throw unsupported_zip("the archive is split over several disks", at);
    uint64_t* const fields[] = {&header.bytes, &header.stored_bytes, &header.offset};
    read_zip64_extra(extra, fields, at);
    if (deflated ? header.bytes / kMaxDeflateRatio > header.stored_bytes
                 : header.bytes != header.stored_bytes)
      throw invalid_zip(fmt::format("member '{}' cannot have the two sizes {} and {} bytes", name,
                                    header.stored_bytes, header.bytes),
                        at);
    if (header.offset > directory_.offset || header.stored_bytes > directory_.offset - header.offset)
      throw invalid_zip(fmt::format("member '{}' reaches beyond the members", name), at);
    if (name.back() == '/' && header.bytes != 0)
      throw invalid_zip(fmt::format("member '{}' is a directory with data", name), at);
    members_.push_back(
        {std::string(name), header.offset, 0, header.bytes, header.stored_bytes, header.crc, deflated});
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
        throw invalid_zip(member.header_offset < end
                              ? fmt::format("member '{}' overlaps the member before it", member.name)
                              : fmt::format("{} bytes before member '{}' belong to none",
                                            member.header_offset - end, member.name),
                          member.header_offset);
      }
      end = check_local_header(member, flags_[i]);
    }
    if (end != directory_.offset)
      throw invalid_zip(fmt::format("{} bytes after the last member belong to none", directory_.offset - end),
                        end);
  }

  /// Returns where the member ends, its data descriptor included.
  uint64_t check_local_header(ZipMember& member, uint16_t flags) const {
    const uint64_t at = member.header_offset;
    const auto refuse = [&](std::string_view what) {
      return invalid_zip(fmt::format("{} of member '{}'", what, member.name), at);
    };
    const uint64_t head_bytes = kLocalHeaderBytes + member.name.size();
    if (head_bytes > directory_.offset - at) throw refuse("the central directory cuts off the local header");
    const std::string head = read_zip_text(source_, at, head_bytes);
    if (zip_number32(head, 0) != kLocalHeader) throw refuse("there is no local header");
    const uint64_t extra_bytes = zip_number16(head, 28);
    if (zip_number16(head, 26) != member.name.size() || head.substr(kLocalHeaderBytes) != member.name)
      throw refuse("the local header gives another name than that");
    if (zip_number16(head, 6) != flags || zip_number16(head, 8) != (member.deflated ? kDeflated : 0))
      throw refuse("local header and central directory disagree about the flags or the method");
    if (extra_bytes + member.stored_bytes > directory_.offset - at - head_bytes)
      throw refuse("the central directory cuts off the data");
    uint64_t stored_bytes = zip_number32(head, 18), bytes = zip_number32(head, 22);
    const uint32_t crc = zip_number32(head, 14);
    if (stored_bytes == kZipIn64Bits || bytes == kZipIn64Bits) {
      uint64_t* const fields[] = {&bytes, &stored_bytes};
      read_zip64_extra(read_zip_text(source_, at + head_bytes, extra_bytes), fields, at);
    }
    const bool follow = flags & kSizesFollowData;
    const bool agree = (crc == member.crc || (follow && crc == 0)) &&
                       (bytes == member.bytes || (follow && bytes == 0)) &&
                       (stored_bytes == member.stored_bytes || (follow && stored_bytes == 0));
    if (!agree) throw refuse("local header and central directory disagree about the size or the checksum");
    member.data_offset = at + head_bytes + extra_bytes;
    const uint64_t end = member.data_offset + member.stored_bytes;
    return follow ? end + descriptor_bytes(member, end) : end;
  }

  /// A descriptor has 32-bit or 64-bit sizes, and a signature or none: nothing says which.
  uint64_t descriptor_bytes(const ZipMember& member, uint64_t at) const {
    const std::string text = read_zip_text(source_, at, std::min<uint64_t>(24, directory_.offset - at));
    for (const unsigned signature_bytes : {4U, 0U}) {
      for (const unsigned size_bytes : {4U, 8U}) {
        const uint64_t needed = signature_bytes + 4 + 2 * size_bytes;
        if (text.size() < needed || (signature_bytes != 0 && zip_number32(text, 0) != kDescriptor)) continue;
        if (zip_number32(text, signature_bytes) == member.crc &&
            zip_number(text, signature_bytes + 4, size_bytes) == member.stored_bytes &&
            zip_number(text, signature_bytes + 4 + size_bytes, size_bytes) == member.bytes) {
          return needed;
        }
      }
    }
    throw invalid_zip(
        fmt::format("the data descriptor of member '{}' disagrees with the central directory", member.name),
        at);
  }

  const ByteSource& source_;
  ZipMethods methods_;
  ZipDirectory directory_;
  std::vector<ZipMember> members_;  ///< in the order of the central directory until the archive is complete
  std::vector<uint16_t> flags_;     ///< parallel to members_
};

}  // namespace

const ZipMember* ZipArchive::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(members, name, {}, &ZipMember::name);
  return found != members.end() && found->name == name ? &*found : nullptr;
}

bool is_zip(std::string_view start) { return start.starts_with(std::string_view("PK\x03\x04", 4)); }

ZipArchive read_zip_archive(const ByteSource& source, ZipMethods methods) {
  return Reader(source, methods).read();
}

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
