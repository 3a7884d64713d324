#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/base/file.h"
#include "core/load/direct_reader.h"
#include "core/load/way_chooser.h"

namespace hfload {

/// How a load reads its shards.
enum class ReadPath : uint8_t {
  automatic,  ///< what the page cache holds by pread; the rest by whichever of pread and direct is faster
              ///< here
  pread,      ///< through the page cache
  direct,     ///< around it (O_DIRECT, by io_uring where the kernel has it)
  mapping,    ///< copied from a mapping; a file that is truncated meanwhile ends the process
};

/// A shard that is being read.
struct OpenShard {
  RegularFile file = {};
  FileDescriptor direct = {};               ///< empty where direct reads are not wanted or not to be had
  MappedFile mapping = {};                  ///< empty unless copies are made from it
  std::atomic<bool> direct_refused{false};  ///< a direct read has failed
  std::atomic<bool> knows_residency{true};  ///< RWF_NOWAIT works here
  bool is_remote = false;                   ///< on a network file system
};

/// Bytes by the way they came.
struct ReadStatistics {
  uint64_t cached_bytes = 0;    ///< were in the page cache
  uint64_t buffered_bytes = 0;  ///< through the page cache, and not known to have been there before
  uint64_t direct_bytes = 0;
  uint64_t mapped_bytes = 0;  ///< copied from a mapping
  bool io_uring = false;      ///< whether direct reads went by it
};

/// Reads ranges of shards, each the way that `path` says or that is best for it. All functions may be called
/// from several threads at once, as long as each has a `worker` of its own.
class ShardReader {
 public:
  /// `buffer_bytes`: for the direct reads of all workers together.
  ShardReader(ReadPath path, unsigned workers, uint64_t buffer_bytes);

  /// Adds to a shard what this reader's path needs.
  /// Throws Error(io_error) where a forced path cannot be had.
  void prepare(OpenShard& shard) const;

  /// Fills `into` from `offset`. Throws Error(changed_during_read) at an early end of file, Error(io_error).
  void read(OpenShard& shard, uint64_t offset, std::span<std::byte> into, unsigned worker);

  /// The same for small ranges here and there, which no direct read is worth: from the mapping where there
  /// is one, else through the page cache.
  void read_scattered(OpenShard& shard, uint64_t offset, std::span<std::byte> into, unsigned worker);

  ReadStatistics statistics() const;

 private:
  struct Worker {
    std::unique_ptr<DirectReader> direct;  ///< made for its first direct read
    ReadStatistics read;
  };

  /// What stands before it in the same piece, `cached_before` bytes, was in the page cache.
  void read_uncached(OpenShard& shard, uint64_t offset, std::span<std::byte> into, uint64_t cached_before,
                     Worker& worker);
  bool read_direct(OpenShard& shard, uint64_t offset, std::span<std::byte> into, Worker& worker);

  ReadPath path_;
  uint64_t worker_buffer_bytes_;
  std::vector<Worker> workers_;
  /// First: through the page cache, second: direct. A direct read is tried while other workers' reads ahead
  /// have the disk busy for them, and looks better than it is once all read so.
  WayChooser uncached_{0, 0.6};
};

}  // namespace hfload
