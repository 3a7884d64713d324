#include "core/load/shard_reader.h"

#include <fcntl.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <random>
#include <string>

#include "core/base/error.h"
#include "core/load/host_memory.h"
#include "test/support/temp_directory.h"

namespace hfload::test {
namespace {

std::string random_text(size_t bytes) {
  std::string text(bytes, '\0');
  std::mt19937_64 random(5);
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

/// Writes the file back and drops it from the page cache.
void make_cold(const std::string& path) {
  const FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  REQUIRE(fdatasync(fd.get()) == 0);
  REQUIRE(posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED) == 0);
}

std::string read(ShardReader& reader, OpenShard& shard, uint64_t offset, size_t bytes) {
  std::string into(bytes, '\0');
  reader.read(shard, offset, std::as_writable_bytes(std::span(into)), 0);
  return into;
}

/// A temporary directory may be in memory, which has no direct reads.
bool has_direct_reads(const std::string& path) {
  return static_cast<bool>(open_direct(open_regular_file(path)));
}

constexpr size_t kFileBytes = 5'000'001;

TEST_CASE("ranges at any offset are read the same on every path, warm and cold") {
  const TempDirectory directory;
  const std::string text = random_text(kFileBytes);
  const std::string path = directory.write("shard", text);
  for (const ReadPath way : {ReadPath::automatic, ReadPath::pread, ReadPath::direct, ReadPath::mapping}) {
    if (way == ReadPath::direct && !has_direct_reads(path)) continue;
    for (const uint64_t buffer_bytes : {64 << 10, 16 << 20}) {
      ShardReader reader(way, 1, buffer_bytes);
      OpenShard shard{.file = open_regular_file(path)};
      reader.prepare(shard);
      uint64_t total = 0;
      for (const auto& [offset, bytes] : {std::pair<uint64_t, size_t>{0, kFileBytes},
                                          {1, 1},
                                          {4095, 2},
                                          {4096, 4096},
                                          {777, 1'000'000},
                                          {kFileBytes - 1, 1},
                                          {kFileBytes - 300'000, 300'000},
                                          {12, 0}}) {
        make_cold(path);
        CHECK((read(reader, shard, offset, bytes) == text.substr(offset, bytes)));
        total += bytes;
      }
      const ReadStatistics done = reader.statistics();
      CHECK(done.cached_bytes + done.buffered_bytes + done.direct_bytes + done.mapped_bytes == total);
      if (way == ReadPath::direct) CHECK(done.direct_bytes == total);
      if (way == ReadPath::mapping) CHECK(done.mapped_bytes == total);
    }
  }
}

TEST_CASE("automatic reads take what is in the page cache from there") {
  const TempDirectory directory;
  const std::string text = random_text(kFileBytes);
  const std::string path = directory.write("shard", text);
  ShardReader reader(ReadPath::automatic, 1, 1 << 20);
  OpenShard shard{.file = open_regular_file(path)};
  reader.prepare(shard);
  CHECK((read(reader, shard, 3, kFileBytes - 3) == text.substr(3)));
  CHECK(reader.statistics().cached_bytes == kFileBytes - 3);
  CHECK(reader.statistics().direct_bytes == 0);
}

TEST_CASE("a range of which only the beginning is in the page cache is read whole") {
  const TempDirectory directory;
  const std::string text = random_text(kFileBytes);
  const std::string path = directory.write("shard", text);
  for (const size_t warm_bytes : {1U, 1'000'000U, 4'900'000U}) {
    make_cold(path);
    const FileDescriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    REQUIRE(posix_fadvise(fd.get(), 0, 0, POSIX_FADV_RANDOM) == 0);  // no more than is asked for
    std::string warm(warm_bytes, '\0');
    REQUIRE(pread(fd.get(), warm.data(), warm.size(), 0) == static_cast<ssize_t>(warm.size()));
    ShardReader reader(ReadPath::automatic, 1, 1 << 20);
    OpenShard shard{.file = open_regular_file(path)};
    reader.prepare(shard);
    CHECK((read(reader, shard, 0, kFileBytes) == text));
  }
}

TEST_CASE("small ranges are not read around the page cache") {
  const TempDirectory directory;
  const std::string text = random_text(kFileBytes);
  const std::string path = directory.write("shard", text);
  ShardReader reader(ReadPath::automatic, 1, 1 << 20);
  OpenShard shard{.file = open_regular_file(path)};
  reader.prepare(shard);
  for (uint64_t offset = 0; offset < kFileBytes; offset += 300'000) {
    make_cold(path);
    CHECK((read(reader, shard, offset, 100'000) == text.substr(offset, 100'000)));
  }
  CHECK(reader.statistics().direct_bytes == 0);
}

TEST_CASE("a file system of this machine is no network") {
  CHECK_FALSE(is_on_network_file_system(open_regular_file("/proc/self/status")));
}

TEST_CASE("a range beyond the end of the file is an error on every path that can tell") {
  const TempDirectory directory;
  const std::string path = directory.write("shard", random_text(kFileBytes));
  for (const ReadPath way : {ReadPath::automatic, ReadPath::pread, ReadPath::direct}) {
    if (way == ReadPath::direct && !has_direct_reads(path)) continue;
    for (const bool cold : {false, true}) {
      ShardReader reader(way, 1, 1 << 20);
      OpenShard shard{.file = open_regular_file(path)};
      reader.prepare(shard);
      REQUIRE(truncate(path.c_str(), 3'000'000) == 0);
      if (cold) make_cold(path);
      try {
        read(reader, shard, 1'000'000, 3'000'000);
        FAIL("no error");
      } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::changed_during_read);
        CHECK(error.offset().value_or(0) >= 1'000'000);
        CHECK(error.path() == path);
      }
      // What is still there is read all the same.
      CHECK(read(reader, shard, 0, 2'999'999).size() == 2'999'999);
      directory.write("shard", random_text(kFileBytes));
    }
  }
}

TEST_CASE("fresh pages hold what is written to them, whichever size they have") {
  constexpr uint64_t kHugePageBytes = 2 << 20;
  constexpr uint64_t kBytes = 3 * kHugePageBytes + 12'345;
  HostMemory memory(kBytes);
  FreshPages pages(memory.bytes());
  // All, a part again, the rest behind the last whole huge page, nothing.
  for (const auto& [offset, bytes] : {std::pair<uint64_t, uint64_t>{100, kHugePageBytes},
                                      {0, kBytes},
                                      {3 * kHugePageBytes, 12'345},
                                      {kBytes, 0}}) {
    pages.prepare(offset, bytes);
    for (uint64_t i = offset; i < offset + bytes; ++i) memory.bytes()[i] = static_cast<std::byte>(i * 31);
  }
  for (uint64_t i = 0; i < kBytes; i += 997) {
    if (memory.bytes()[i] != static_cast<std::byte>(i * 31)) FAIL("byte " << i);
  }
  CHECK(pages.small_page_bytes() <= 3 * kHugePageBytes);
}

}  // namespace
}  // namespace hfload::test
