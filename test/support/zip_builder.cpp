#include "test/support/zip_builder.h"

namespace hfload::test {
namespace {

uint32_t crc32(std::string_view data) {
  uint32_t crc = 0xFFFFFFFF;
  for (const char c : data) {
    crc ^= static_cast<uint8_t>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (0xEDB88320U & (0U - (crc & 1)));
  }
  return ~crc;
}

}  // namespace

std::string little_endian(uint64_t value, unsigned count) {
  std::string text;
  for (unsigned i = 0; i < count; ++i) text.push_back(static_cast<char>(value >> (8 * i) & 0xFF));
  return text;
}

ZipBytes& ZipBytes::put(uint64_t offset, uint64_t value, unsigned count) {
  bytes.replace(offset, count, little_endian(value, count));
  return *this;
}

ZipBytes zip_bytes(const std::vector<ZipEntry>& entries, ZipKind kind) {
  ZipBytes zip;
  std::string& out = zip.bytes;
  const auto number = [&](uint64_t value, unsigned count) { out += little_endian(value, count); };
  const bool wide = kind == ZipKind::zip64, follow = kind == ZipKind::descriptor;
  const uint64_t flags = follow ? 0x808 : 0;
  const auto narrow = [&](uint64_t value, unsigned count) { number(wide ? ~uint64_t{0} : value, count); };
  for (const ZipEntry& entry : entries) {
    zip.local.push_back(out.size());
    out += std::string("PK\x03\x04", 4);
    number(45, 2), number(flags, 2), number(0, 2), number(0, 4);
    number(follow ? 0 : crc32(entry.data), 4);
    narrow(follow ? 0 : entry.data.size(), 4), narrow(follow ? 0 : entry.data.size(), 4);
    number(entry.name.size(), 2), number(wide ? 20 : 0, 2);
    out += entry.name;
    if (wide) number(1, 2), number(16, 2), number(entry.data.size(), 8), number(entry.data.size(), 8);
    out += entry.data;
    if (follow) {
      out += std::string("PK\x07\x08", 4);
      number(crc32(entry.data), 4), number(entry.data.size(), 4), number(entry.data.size(), 4);
    }
  }
  zip.directory = out.size();
  for (size_t i = 0; i < entries.size(); ++i) {
    const ZipEntry& entry = entries[i];
    zip.central.push_back(out.size());
    out += std::string("PK\x01\x02", 4);
    number(45, 2), number(45, 2), number(flags, 2), number(0, 2), number(0, 4), number(crc32(entry.data), 4);
    narrow(entry.data.size(), 4), narrow(entry.data.size(), 4);
    number(entry.name.size(), 2), number(wide ? 28 : 0, 2), number(0, 2), number(0, 2), number(0, 2),
        number(0, 4);
    narrow(zip.local[i], 4);
    out += entry.name;
    if (wide) {
      number(1, 2), number(24, 2), number(entry.data.size(), 8), number(entry.data.size(), 8);
      number(zip.local[i], 8);
    }
  }
  const uint64_t directory_bytes = out.size() - zip.directory;
  if (wide) {
    zip.zip64_end = out.size();
    out += std::string("PK\x06\x06", 4);
    number(44, 8), number(45, 2), number(45, 2), number(0, 4), number(0, 4), number(entries.size(), 8);
    number(entries.size(), 8), number(directory_bytes, 8), number(zip.directory, 8);
    out += std::string("PK\x06\x07", 4);
    number(0, 4), number(zip.zip64_end, 8), number(1, 4);
  }
  zip.end = out.size();
  out += std::string("PK\x05\x06", 4);
  number(0, 2), number(0, 2), narrow(entries.size(), 2), narrow(entries.size(), 2);
  narrow(directory_bytes, 4), narrow(zip.directory, 4), number(0, 2);
  return zip;
}

}  // namespace hfload::test
