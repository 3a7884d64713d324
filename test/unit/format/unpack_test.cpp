#include "core/format/unpack.h"

#include <catch2/catch.hpp>
#include <string>

namespace hfload {
namespace {

using namespace std::string_literals;

struct Sample {
  Packing packing;
  std::string hex;
};

// Python's zlib, gzip, bz2 and lzma modules made these of b"0123456789" * 20000.
const Sample kSamples[] = {
    {Packing::deflate,
     "edc6490100200800b04a7820dabf981508b0bd1663ae9da7ee0b33333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "33333333333333333333333333333333333333333333333333333333336bee03"},
    {Packing::zlib,
     "78daedc6490100200800b04a7820dabf981508b0bd1663ae9da7ee0b3333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333336bee036f324101"},
    {Packing::gzip,
     "1f8b0800000000000203edc6490100200800b04a7820dabf981508b0bd1663ae9da7ee0b333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333333"
     "3333333333333333333333333333333333333333333333333333333333333333333333333333336bee035ea5eb8d400d"
     "0300"},
    {Packing::bzip2,
     "425a68393141592653599a0e24c100270f88007fe0200091100300a550c267010a8f010a8f410a8f810a8c021519042a"
     "3408546c10a8fc10a8e02150c5dc914e14242683893040"},
    {Packing::xz,
     "fd377a585a0000016922de360200210116000000742fe5a3e30d3f006d5d00180c42926a67bc0ed13334123b0ce89301"
     "af64e81ad8a678d63692e972d4f6aff73273e7179d7804d4a3b1f472abb35d9ce73313300a5784927e1ac954f99a2cf6"
     "34c3138034cb0ae08a510bd9ded81fe93f4fffbcfb383ba2c400c55e0b62eed3f12136b28120795827de000000000000"
     "5ea5eb8d00018501c09a0c002ae4349a3e300d8b020000000001595a"},
    {Packing::lzma_alone,
     "5d00008000ffffffffffffffff00180c42926a67bc0ed13334123b0ce89301af64e81ad8a678d63692e972d4f6aff732"
     "73e7179d7804d4a3b1f472abb35d9ce73313300a5784927e1ac954f99a2cf634c3138034cb0ae08a510bd9ded81fe93f"
     "4fffbcfb383ba2c400c55e0b62eed3f12136b28120795828a287a3ffff4f080000"},
};

constexpr size_t kBytes = 200'000;

std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::string digits(size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text.push_back(static_cast<char>('0' + i % 10));
  return text;
}

struct Outcome {
  std::string text;
  uint64_t position = 0;
  std::optional<ErrorCode> fault;
};

Outcome unpack(const std::string& packed, Packing packing, uint64_t most_bytes = kBytes, uint64_t begin = 0,
               size_t piece_bytes = 7777) {
  const MemorySource source(std::as_bytes(std::span(packed)));
  Unpacker unpacker(source, begin, packed.size(), packing, most_bytes);
  Outcome outcome;
  std::string piece(piece_bytes, '\0');
  try {
    while (const size_t count = unpacker.read(std::as_writable_bytes(std::span(piece))))
      outcome.text.append(piece, 0, count);
  } catch (const Error& error) {
    outcome.fault = error.code();
    CHECK_THROWS_AS(unpacker.read(std::as_writable_bytes(std::span(piece))), Error);
  }
  outcome.position = unpacker.position();
  CHECK(unpacker.unpacked_bytes() == outcome.text.size());
  return outcome;
}

TEST_CASE("Every kind of stream unpacks to what Python packed") {
  for (const Sample& sample : kSamples) {
    INFO(to_string(sample.packing));
    const std::string packed = from_hex(sample.hex);
    const Outcome whole = unpack("??" + packed + "\1rest of the file", sample.packing, kBytes, 2);
    CHECK(whole.text == digits(kBytes));
    CHECK(whole.position == 2 + packed.size());
    CHECK(!whole.fault);
    CHECK(unpack(packed, sample.packing, kBytes, 0, 1'000'000).text == digits(kBytes));
  }
}

TEST_CASE("A stream that is cut off or damaged gives what comes before") {
  for (const Sample& sample : kSamples) {
    INFO(to_string(sample.packing));
    const std::string packed = from_hex(sample.hex);
    const Outcome cut = unpack(packed.substr(0, packed.size() - 9), sample.packing);
    CHECK(cut.fault == ErrorCode::invalid_stream);
    CHECK(cut.text == digits(cut.text.size()));
    CHECK(unpack("", sample.packing).fault == ErrorCode::invalid_stream);
    if (sample.packing == Packing::deflate || sample.packing == Packing::lzma_alone) continue;  // no checksum
    std::string changed = packed;
    changed[changed.size() - (sample.packing == Packing::gzip ? 6 : 3)] ^= 1;
    CHECK(unpack(changed, sample.packing).fault == ErrorCode::invalid_stream);
  }
}

TEST_CASE("A stream beyond its bound ends with an error, and one at its bound does not") {
  for (const Sample& sample : kSamples) {
    INFO(to_string(sample.packing));
    const std::string packed = from_hex(sample.hex);
    const Outcome bounded = unpack(packed, sample.packing, kBytes - 1);
    CHECK(bounded.text == digits(kBytes - 1));
    CHECK(bounded.fault == ErrorCode::unsupported_format);
    CHECK(unpack(packed, sample.packing, 0).fault == ErrorCode::unsupported_format);
  }
}

TEST_CASE("Streams that follow one another are one") {
  for (const Sample& sample : kSamples) {
    INFO(to_string(sample.packing));
    const std::string packed = from_hex(sample.hex);
    const bool alone = sample.packing == Packing::deflate || sample.packing == Packing::lzma_alone;
    const std::string padding(sample.packing == Packing::xz || sample.packing == Packing::gzip ? 8 : 0, '\0');
    const Outcome twice = unpack(packed + padding + packed, sample.packing, 2 * kBytes);
    CHECK(twice.text.size() == (alone ? kBytes : 2 * kBytes));
    CHECK(!twice.fault);
  }
}

TEST_CASE("An xz stream that asks for much memory is not unpacked") {
  // As lzma_alone: properties, a dictionary of 1 GiB, no size; the range coder's first bytes.
  const Outcome refused =
      unpack("\x5d\0\0\0\x40\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0\0\0\0"s, Packing::lzma_alone);
  CHECK(refused.fault == ErrorCode::unsupported_format);
}

}  // namespace
}  // namespace hfload
