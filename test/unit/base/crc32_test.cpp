#include "core/base/crc32.h"

#include <catch2/catch.hpp>
#include <string_view>

namespace hfload {
namespace {

uint32_t crc_of(std::string_view text, uint32_t before = 0) {
  return crc32(before, std::as_bytes(std::span(text.data(), text.size())));
}

}  // namespace

TEST_CASE("CRC-32 has its published check values") {
  // The check value of the CRC catalogue; the others by Python's zlib.crc32.
  CHECK(crc_of("123456789") == 0xCBF43926);
  CHECK(crc_of("") == 0);
  CHECK(crc_of("a") == 0xE8B7BE43);
  CHECK(crc_of("The quick brown fox jumps over the lazy dog") == 0x414FA339);
}

TEST_CASE("CRCs of parts combine") {
  const std::string_view text = "The quick brown fox jumps over the lazy dog";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const std::string_view head = text.substr(0, cut), tail = text.substr(cut);
    CHECK(crc32_combine(crc_of(head), crc_of(tail), tail.size()) == 0x414FA339);
    CHECK(crc_of(tail, crc_of(head)) == 0x414FA339);
  }
}

}  // namespace hfload
