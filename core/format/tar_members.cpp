#include "core/format/tar_members.h"

#include <algorithm>
#include <charconv>
#include <span>

#include "core/base/checked.h"
#include "core/base/error.h"

namespace hfload {
namespace {

// POSIX.1-2017, pax: fields of a header, and GNU tar's extensions to them.
constexpr size_t kNameBytes = 100, kSizeAt = 124, kNumberBytes = 12, kChecksumAt = 148, kChecksumBytes = 8,
                 kTypeAt = 156, kMagicAt = 257, kPrefixAt = 345, kPrefixBytes = 155;
constexpr uint64_t kMostExtensionBytes = 1 << 20;
constexpr int kMostExtensions = 64;

Error invalid(std::string message, uint64_t offset) {
  return Error(ErrorCode::invalid_tar, std::move(message))
      .with_offset(offset)
      .with_hint("The file is damaged: download or export it again.");
}

std::string_view until_nul(std::string_view text) { return text.substr(0, text.find('\0')); }

/// An octal number, with spaces around it or a NUL after it, or GNU's binary form; nothing for anything else.
std::optional<uint64_t> read_number(std::string_view field) {
  const uint8_t first = static_cast<uint8_t>(field[0]);
  if (first & 0x80) {
    uint64_t value = 0;
    if (first != 0x80) return std::nullopt;
    for (const char c : field.substr(1)) {
      if (value >> 56 != 0) return std::nullopt;
      value = value << 8 | static_cast<uint8_t>(c);
    }
    return value;
  }
  std::string_view text = until_nul(field);
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  uint64_t value = 0;
  if (text.empty()) return value;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (fault != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string read_text(const ByteSource& source, uint64_t offset, uint64_t bytes) {
  std::string text(bytes, '\0');
  source.read(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

std::string name_of(std::string_view header) {
  const std::string name(until_nul(header.substr(0, kNameBytes)));
  const std::string_view prefix = until_nul(header.substr(kPrefixAt, kPrefixBytes));
  const bool has_prefix = header.substr(kMagicAt, 6) == std::string_view("ustar\0", 6) && !prefix.empty();
  return has_prefix ? std::string(prefix) + "/" + name : name;
}

}  // namespace

bool is_tar_header(std::string_view block) {
  if (block.size() < kTarBlockBytes || block[0] == '\0') return false;
  const std::optional<uint64_t> wanted = read_number(block.substr(kChecksumAt, kChecksumBytes));
  uint64_t sum = 0;
  int64_t signed_sum = 0;  // as some old programs computed it
  for (size_t i = 0; i < kTarBlockBytes; ++i) {
    const char c = i >= kChecksumAt && i < kChecksumAt + kChecksumBytes ? ' ' : block[i];
    sum += static_cast<uint8_t>(c);
    signed_sum += static_cast<signed char>(c);
  }
  return wanted && (*wanted == sum || static_cast<int64_t>(*wanted) == signed_sum);
}

std::optional<TarMember> TarReader::next() {
  Extension extension;
  for (int extensions = 0; end_ - at_ >= kTarBlockBytes; ++extensions) {
    const uint64_t header_at = at_;
    const std::string header = read_text(source_, at_, kTarBlockBytes);
    if (std::ranges::all_of(header, [](char c) { return c == '\0'; })) return std::nullopt;
    if (!is_tar_header(header))
      throw invalid("the checksum of a member's header in the tar archive is wrong", at_);
    const std::optional<uint64_t> bytes = read_number(std::string_view(header).substr(kSizeAt, kNumberBytes));
    if (!bytes) throw invalid("a member of the tar archive has a size that is no number", at_);
    const char type = header[kTypeAt];
    const bool is_extension = type == 'L' || type == 'K' || type == 'x' || type == 'g' || type == 'X';
    const uint64_t data_bytes = is_extension ? *bytes : extension.bytes.value_or(*bytes);
    // Links, devices and folders have no data, whatever their size says.
    const bool has_data = is_extension || !(type >= '1' && type <= '6');
    at_ += kTarBlockBytes;
    if (has_data && data_bytes > end_ - at_) throw invalid("the tar archive ends within a member", end_);
    const uint64_t data_at = at_;
    if (has_data) at_ = std::min(align_up(data_bytes, kTarBlockBytes) + at_, end_);
    if (!is_extension) {
      TarMember member{extension.name.empty() ? name_of(header) : extension.name, data_at,
                       has_data ? data_bytes : 0, has_data, extension.is_sparse || type == 'S'};
      return member;
    }
    if (data_bytes > kMostExtensionBytes || extensions == kMostExtensions)
      throw invalid("the tar archive has names or pax headers of more than 1 MiB, or too many of them",
                    header_at);
    at_ = data_at;
    read_extension(type, data_bytes, extension);
    at_ = std::min(align_up(data_bytes, kTarBlockBytes) + data_at, end_);
  }
  if (end_ != at_) throw invalid("the tar archive ends within a header", end_);
  return std::nullopt;
}

void TarReader::read_extension(char type, uint64_t bytes, Extension& extension) const {
  const std::string text = read_text(source_, at_, bytes);
  if (type == 'L') extension.name = until_nul(text);
  if (type != 'x' && type != 'X') return;
  // Records: "LENGTH KEY=VALUE\n".
  for (std::string_view rest = text; !rest.empty();) {
    size_t length = 0;
    const auto [space, fault] = std::from_chars(rest.data(), rest.data() + rest.size(), length);
    const size_t digits = static_cast<size_t>(space - rest.data());
    if (fault != std::errc() || length > rest.size() || length < digits + 2 || *space != ' ')
      throw invalid("a pax header of the tar archive is malformed", at_);
    const std::string_view record = rest.substr(digits + 1, length - digits - 2);
    const std::string_view key = record.substr(0, record.find('=')),
                           value = record.substr(std::min(record.size(), key.size() + 1));
    rest.remove_prefix(length);
    if (key == "path") extension.name = value;
    if (key.starts_with("GNU.sparse.")) extension.is_sparse = true;
    if (key != "size") continue;
    uint64_t size = 0;
    const auto [end, wrong] = std::from_chars(value.data(), value.data() + value.size(), size);
    if (wrong != std::errc() || end != value.data() + value.size())
      throw invalid("a member of the tar archive has a size that is no number", at_);
    extension.bytes = size;
  }
}

}  // namespace hfload
