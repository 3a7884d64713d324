#include "core/format/unpacked_source.h"

#include <zlib.h>

#include <catch2/catch.hpp>
#include <string>

namespace hfload {
namespace {

constexpr size_t kBytes = 9 << 20;

char byte_at(uint64_t i) { return static_cast<char>((i * i + i / 1000) % 251); }

/// By zlib's own function, of kBytes bytes of a formula.
std::string packed() {
  std::string data;
  for (uint64_t i = 0; i < kBytes; ++i) data.push_back(byte_at(i));
  uLongf size = compressBound(data.size());
  std::string out(size, '\0');
  compress2(reinterpret_cast<Bytef*>(out.data()), &size, reinterpret_cast<const Bytef*>(data.data()),
            data.size(), 1);
  out.resize(size);
  return out;
}

bool is_right(const UnpackedSource& source, uint64_t offset, size_t count) {
  std::string piece(count, '\0');
  source.read(offset, std::as_writable_bytes(std::span(piece)));
  for (size_t i = 0; i < count; ++i) {
    if (piece[i] != byte_at(offset + i)) return false;
  }
  return true;
}

TEST_CASE("A stream is a source whose bytes are read in any order") {
  const std::string stream = packed();
  const MemorySource memory(std::as_bytes(std::span(stream)));
  for (const uint64_t held : {uint64_t{0}, uint64_t{3 << 20}, uint64_t{64 << 20}}) {
    UnpackBudget budget{64 << 20, 256 << 20, held};
    {
      const UnpackedSource source(memory, 0, stream.size(), Packing::zlib, budget);
      CHECK(source.bytes() == kBytes);
      CHECK(source.packed_end() == stream.size());
      CHECK(!source.fault());
      CHECK(budget.first == (64 << 20) - kBytes);
      for (const uint64_t offset :
           {0, 5 << 20, 4 << 20, 100, 8 << 20, (9 << 20) - 200, 6 << 20, (6 << 20) - 500'000, 3 << 20})
        CHECK(is_right(source, offset, 200));
      CHECK(is_right(source, 2 << 20, 6 << 20));
    }
    CHECK(budget.held == held);
  }
}

TEST_CASE("Going back in a stream, and what it unpacks to, are bounded") {
  const std::string stream = packed();
  const MemorySource memory(std::as_bytes(std::span(stream)));
  UnpackBudget budget{64 << 20, 15 << 20, 0};
  const UnpackedSource source(memory, 0, stream.size(), Packing::zlib, budget);
  CHECK(is_right(source, 6 << 20, 10));
  CHECK(is_right(source, 5, 10));
  CHECK(is_right(source, 6 << 20, 10));
  REQUIRE_THROWS_AS(is_right(source, 5, 10) && is_right(source, 6 << 20, 10), Error);

  UnpackBudget small{1 << 20, 1 << 20, 64 << 20};
  const UnpackedSource cut(memory, 0, stream.size(), Packing::zlib, small);
  REQUIRE(cut.fault());
  CHECK(cut.fault()->code() == ErrorCode::unsupported_format);
  CHECK(cut.bytes() == 1 << 20);
  CHECK(small.first == 0);
  CHECK(is_right(cut, 0, 1 << 20));
}

}  // namespace
}  // namespace hfload
