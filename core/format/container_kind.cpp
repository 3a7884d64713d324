#include "core/format/container_kind.h"

#include <algorithm>
#include <array>
#include <string>

#include "core/base/error.h"
#include "core/format/npy_header.h"
#include "core/format/tar_members.h"
#include "core/format/zip_archive.h"

namespace hfload {
namespace {

using namespace std::string_view_literals;

constexpr struct {
  std::string_view start, name;
} kUnread[] = {
    {"7z\xbc\xaf\x27\x1c"sv, "a 7z archive"},
    {"Rar!\x1a\x07"sv, "a rar archive"},
    {"\x28\xb5\x2f\xfd"sv, "a zstd stream"},
    {"\x04\x22\x4d\x18"sv, "an lz4 stream"},
    {"\x02\x21\x4c\x18"sv, "an lz4 stream"},
    {"LZIP\x01"sv, "an lzip stream"},
    {"\x89LZO\0\r\n\x1a\n"sv, "an lzop stream"},
    {"\x1f\x9d"sv, "a stream of compress"},
    {"\xff\x06\0\0sNaPpY"sv, "a snappy stream"},
    {"MSCF\0\0\0\0"sv, "a cabinet"},
    {"!<arch>\n"sv, "an ar archive"},
    {"070701"sv, "a cpio archive"},
    {"070707"sv, "a cpio archive"},
    {"xar!\0"sv, "a xar archive"},
    {"hsqs"sv, "a squashfs image"},
};

std::string read_text(const ByteSource& source, uint64_t offset, uint64_t bytes) {
  std::string text(bytes, '\0');
  source.read(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

/// Whether a stream unpacks to some bytes before there is a fault, or to its end.
bool unpacks(const ByteSource& source, uint64_t begin, uint64_t end, Packing packing) {
  std::array<std::byte, 64> piece;
  try {
    Unpacker unpacker(source, begin, end, packing, piece.size());
    const size_t count = unpacker.read(piece);
    if (count == piece.size()) return true;
    return count > 0 && unpacker.read(std::span(piece).first(1)) == 0;
  } catch (const Error& error) {
    if (error.exit_status() != 3 && error.exit_status() != 4) throw;
    return error.code() == ErrorCode::unsupported_format;
  }
}

/// RFC 1950: the method is deflate, with a window of at most 32 KiB, and the check bits are right.
bool is_zlib_header(std::string_view start) {
  if (start.size() < 2) return false;
  const unsigned first = static_cast<uint8_t>(start[0]), second = static_cast<uint8_t>(start[1]);
  return (first & 0x0F) == 8 && first >> 4 <= 7 && (256 * first + second) % 31 == 0 && !(second & 0x20);
}

/// As liblzma's own detection goes: a dictionary of 2^n or 2^n + 2^(n-1) bytes, a plausible size, and a first
/// byte of the range coder that is zero.
bool is_lzma_header(std::string_view start) {
  if (start.size() < 14 || static_cast<uint8_t>(start[0]) >= 225 || start[13] != '\0') return false;
  uint64_t dictionary = 0, bytes = 0;
  for (size_t i = 4; i > 0; --i) dictionary = dictionary << 8 | static_cast<uint8_t>(start[i]);
  for (size_t i = 12; i > 4; --i) bytes = bytes << 8 | static_cast<uint8_t>(start[i]);
  if (bytes != UINT64_MAX && bytes >= uint64_t{1} << 38) return false;
  const uint64_t low = dictionary & (~dictionary + 1), rest = dictionary - low;
  return dictionary == UINT32_MAX || (dictionary != 0 && (rest == 0 || rest == 2 * low));
}

/// joblib before 0.10 (numpy_pickle_compat.py): "ZF", a hexadecimal length in 19 bytes, and in Python 2 one
/// space more.
uint64_t zfile_header_bytes(std::string_view start) {
  constexpr size_t kBytes = 21;
  const bool is_zfile = start.size() > kBytes && start.starts_with("ZF0x");
  return !is_zfile ? 0 : start[kBytes] == ' ' ? kBytes + 1 : kBytes;
}

Container find_stream(const ByteSource& source, uint64_t begin, uint64_t end, std::string_view start) {
  const auto packed = [](Packing packing) { return Container{ContainerKind::packed, packing, 0, false, {}}; };
  if (start.starts_with("\x1f\x8b"sv)) return packed(Packing::gzip);
  if (start.starts_with("\xfd\x37zXZ\0"sv)) return packed(Packing::xz);
  const std::string_view block = start.substr(std::min<size_t>(4, start.size()), 6);
  if (start.starts_with("BZh") &&
      (block == "\x31\x41\x59\x26\x53\x59" || block == "\x17\x72\x45\x38\x50\x90"))
    return packed(Packing::bzip2);
  if (const uint64_t header_bytes = zfile_header_bytes(start))
    return {ContainerKind::packed, Packing::zlib, header_bytes, false, {}};
  if (is_zlib_header(start) && unpacks(source, begin, end, Packing::zlib))
    return {ContainerKind::packed, Packing::zlib, 0, true, {}};
  if (is_lzma_header(start) && unpacks(source, begin, end, Packing::lzma_alone))
    return {ContainerKind::packed, Packing::lzma_alone, 0, true, {}};
  return {};
}

}  // namespace

Container find_container(const ByteSource& source, uint64_t begin, uint64_t end) {
  const std::string start = read_text(source, begin, std::min(kTarBlockBytes, end - begin));
  if (is_zip(start) || start.starts_with("PK\x05\x06")) return {ContainerKind::zip};
  if (start.starts_with(kNpyMagic)) return {ContainerKind::npy};
  for (const auto& unread : kUnread) {
    if (start.starts_with(unread.start)) return {ContainerKind::unread, Packing::gzip, 0, false, unread.name};
  }
  if (is_tar_header(start)) return {ContainerKind::tar};
  return find_stream(source, begin, end, start);
}

bool ends_like_zip(const ByteSource& source, uint64_t begin, uint64_t end) {
  constexpr uint64_t kEndRecordBytes = 22;
  return end - begin >= kEndRecordBytes && read_text(source, end - kEndRecordBytes, 4) == "PK\x05\x06";
}

}  // namespace hfload
