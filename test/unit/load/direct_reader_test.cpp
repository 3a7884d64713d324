#include "core/load/direct_reader.h"

#include <fcntl.h>
#include <liburing.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <functional>
#include <random>
#include <string>
#include <utility>

#include "core/load/shard_reader.h"
#include "test/support/temp_directory.h"

namespace {
/// What becomes of the result of a read that io_uring has done; empty: nothing.
std::function<int(int)> alter_result;
}  // namespace

// The linker sends the reader's calls here (--wrap).
extern "C" int __real_io_uring_submit_and_wait(io_uring* ring, unsigned count);
extern "C" int __wrap_io_uring_submit_and_wait(io_uring* ring, unsigned count);
int __wrap_io_uring_submit_and_wait(io_uring* ring, unsigned count) {
  const int submitted = __real_io_uring_submit_and_wait(ring, count);
  if (!alter_result) return submitted;
  unsigned head = 0;
  io_uring_cqe* completion = nullptr;
  io_uring_for_each_cqe(ring, head, completion) completion->res = alter_result(completion->res);
  return submitted;
}

namespace hfload::test {
namespace {

class AlteredResults {
 public:
  explicit AlteredResults(std::function<int(int)> alter) { alter_result = std::move(alter); }
  ~AlteredResults() { alter_result = nullptr; }
};

/// A file of random bytes, of whose beginning one piece is read around the page cache.
struct OnePiece {
  static constexpr size_t kBytes = 100'000;

  OnePiece() : text(5 * kBytes, '\0') {
    std::mt19937_64 random(3);
    for (char& c : text) c = static_cast<char>(random());
    file = open_regular_file(directory.write("shard", text));
    direct = open_direct(file);
  }

  /// A temporary directory may be in memory, which has no direct reads; a container may forbid io_uring.
  bool can_be_read() const { return direct && reader.uses_io_uring(); }
  bool read() { return reader.read(file, direct, 0, std::as_writable_bytes(std::span(into))); }

  TempDirectory directory;
  std::string text, into = std::string(kBytes, '\0');
  RegularFile file;
  FileDescriptor direct;
  DirectReader reader{1 << 20};
};

TEST_CASE("a descriptor for direct reads waits for its disk") {
  OnePiece piece;
  if (!piece.direct) return;
  CHECK((fcntl(piece.direct.get(), F_GETFL) & O_NONBLOCK) == 0);
  CHECK((fcntl(piece.direct.get(), F_GETFL) & O_DIRECT) != 0);
}

TEST_CASE("a read that is put off is tried again, for as long as something comes") {
  OnePiece piece;
  if (!piece.can_be_read()) return;
  int calls = 0;
  {
    // 4096 bytes after every sixth read.
    const AlteredResults altered(
        [&](int result) { return ++calls % 6 != 0 ? -EAGAIN : std::min(result, 4096); });
    CHECK(piece.read());
  }
  CHECK((piece.into == piece.text.substr(0, OnePiece::kBytes)));
  CHECK(calls == 6 * ((OnePiece::kBytes + 4095) / 4096));
}

TEST_CASE("a read that is put off again and again counts as refused") {
  OnePiece piece;
  if (!piece.can_be_read()) return;
  for (const int error : {-EAGAIN, -EINTR}) {
    int calls = 0;
    const AlteredResults altered([&](int result) { return ++calls < 1000 ? error : result; });
    CHECK_FALSE(piece.read());
    CHECK(calls < 20);
  }
}

TEST_CASE("a shard whose direct reads are put off is read through the page cache") {
  OnePiece piece;
  if (!piece.can_be_read()) return;
  const auto read = [&](ReadPath path) {
    ShardReader reader(path, 1, 1 << 20);
    OpenShard shard{.file = open_regular_file(piece.directory / "shard")};
    reader.prepare(shard);
    // Large enough, and often enough, that a direct read is tried.
    for (int i = 0; i < 4; ++i) {
      REQUIRE(posix_fadvise(shard.file.fd.get(), 0, 0, POSIX_FADV_DONTNEED) == 0);
      std::string into(piece.text.size(), '\0');
      reader.read(shard, 0, std::as_writable_bytes(std::span(into)), 0);
      CHECK((into == piece.text));
    }
    return reader.statistics();
  };
  const AlteredResults altered([](int) { return -EAGAIN; });
  CHECK(read(ReadPath::automatic).direct_bytes == 0);
  CHECK_THROWS(read(ReadPath::direct));
}

}  // namespace
}  // namespace hfload::test
