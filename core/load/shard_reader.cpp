#include "core/load/shard_reader.h"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "core/base/error.h"

namespace hfload {
namespace {

/// The leading bytes of a range that are in the page cache, read. Nothing where the file system does not
/// know.
std::optional<uint64_t> read_cached(const RegularFile& file, uint64_t offset, std::span<std::byte> into) {
  uint64_t done = 0;
  while (done < into.size()) {
    const iovec target{into.data() + done, into.size() - done};
    const ssize_t got = preadv2(file.fd.get(), &target, 1, static_cast<off_t>(offset + done), RWF_NOWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno != EAGAIN && done == 0) return std::nullopt;
    if (got <= 0) break;
    done += static_cast<uint64_t>(got);
  }
  return done;
}

}  // namespace

ShardReader::ShardReader(ReadPath path, unsigned workers, uint64_t buffer_bytes)
    : path_(path), worker_buffer_bytes_(buffer_bytes / std::max(workers, 1U)), workers_(workers) {}

void ShardReader::prepare(OpenShard& shard) const {
  shard.is_remote = is_on_network_file_system(shard.file);
  if (path_ == ReadPath::direct || (path_ == ReadPath::automatic && !shard.is_remote)) {
    shard.direct = open_direct(shard.file);
    if (!shard.direct && path_ == ReadPath::direct) {
      throw Error(ErrorCode::io_error, "this file system has no direct reads")
          .with_path(shard.file.path)
          .with_hint("Use --io auto or --io pread.");
    }
  }
  if (path_ == ReadPath::mapping) shard.mapping = MappedFile(shard.file);
}

void ShardReader::read(OpenShard& shard, uint64_t offset, std::span<std::byte> into, unsigned worker) {
  Worker& own = workers_.at(worker);
  switch (path_) {
    case ReadPath::pread:
      read_exactly(shard.file, offset, into);
      own.read.buffered_bytes += into.size();
      return;
    case ReadPath::direct:
      if (!read_direct(shard, offset, into, own)) {
        throw Error(ErrorCode::io_error, "this file system refuses direct reads")
            .with_path(shard.file.path)
            .with_offset(offset)
            .with_hint("Use --io auto or --io pread.");
      }
      return;
    case ReadPath::mapping:
      // Truncated since, it would raise SIGBUS; that is found as well as it can be.
      require_unchanged(shard.file);
      std::memcpy(into.data(), shard.mapping.bytes().data() + offset, into.size());
      own.read.mapped_bytes += into.size();
      return;
    case ReadPath::automatic:
      break;
  }
  uint64_t cached = 0;
  if (shard.knows_residency.load(std::memory_order_relaxed)) {
    const std::optional<uint64_t> known = read_cached(shard.file, offset, into);
    if (!known) shard.knows_residency.store(false, std::memory_order_relaxed);
    cached = known.value_or(0);
    own.read.cached_bytes += cached;
  }
  if (cached < into.size()) read_uncached(shard, offset + cached, into.subspan(cached), cached, own);
}

void ShardReader::read_scattered(OpenShard& shard, uint64_t offset, std::span<std::byte> into,
                                 unsigned worker) {
  if (path_ == ReadPath::mapping) return read(shard, offset, into, worker);
  read_exactly(shard.file, offset, into);
  workers_.at(worker).read.buffered_bytes += into.size();
}

void ShardReader::read_uncached(OpenShard& shard, uint64_t offset, std::span<std::byte> into,
                                uint64_t cached_before, Worker& worker) {
  // Small rests are not worth a direct read's alignment.
  constexpr uint64_t kSmallestDirectBytes = 256 << 10;
  const bool can_be_direct = shard.direct && shard.knows_residency.load(std::memory_order_relaxed) &&
                             !shard.direct_refused.load(std::memory_order_relaxed);
  if (!can_be_direct || into.size() < kSmallestDirectBytes) {
    read_exactly(shard.file, offset, into);
    worker.read.buffered_bytes += into.size();
    return;
  }
  using Clock = std::chrono::steady_clock;
  const WayChooser::Way way = uncached_.next();
  const Clock::time_point begin = Clock::now();
  if (way == WayChooser::Way::second && !read_direct(shard, offset, into, worker)) {
    shard.direct_refused.store(true, std::memory_order_relaxed);
    return read_uncached(shard, offset, into, cached_before, worker);
  }
  uint64_t gained_bytes = into.size();
  if (way == WayChooser::Way::first) {
    read_exactly(shard.file, offset, into);
    worker.read.buffered_bytes += into.size();
    // Most likely read ahead by the buffered read before, which took its time.
    gained_bytes += cached_before;
  }
  uncached_.report(way, gained_bytes, std::chrono::duration<double>(Clock::now() - begin).count());
}

bool ShardReader::read_direct(OpenShard& shard, uint64_t offset, std::span<std::byte> into, Worker& worker) {
  if (!worker.direct) worker.direct = std::make_unique<DirectReader>(worker_buffer_bytes_);
  if (!worker.direct->read(shard.file, shard.direct, offset, into)) return false;
  worker.read.direct_bytes += into.size();
  worker.read.io_uring = worker.direct->uses_io_uring();
  return true;
}

ReadStatistics ShardReader::statistics() const {
  ReadStatistics sum;
  for (const Worker& worker : workers_) {
    sum.cached_bytes += worker.read.cached_bytes;
    sum.buffered_bytes += worker.read.buffered_bytes;
    sum.direct_bytes += worker.read.direct_bytes;
    sum.mapped_bytes += worker.read.mapped_bytes;
    sum.io_uring = sum.io_uring || worker.read.io_uring;
  }
  return sum;
}

}  // namespace hfload
