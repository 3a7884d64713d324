#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "core/base/file.h"
#include "core/load/host_memory.h"

struct io_uring;

namespace hfload {

/// Opens the file behind `file` a second time, for reads that go around the page cache (O_DIRECT). An empty
/// descriptor where the file system has no such reads.
FileDescriptor open_direct(const RegularFile& file);

/// Direct reads of one thread: pieces of 1 MiB at most, several of them under way at a time by io_uring, each
/// into an aligned buffer and from there to where the bytes belong. Without io_uring (an old kernel, a
/// container that forbids it) one after the other by pread. See io_uring(7), open(2) on O_DIRECT.
class DirectReader {
 public:
  /// `buffer_bytes`: memory for the pieces under way, at least 64 KiB.
  explicit DirectReader(uint64_t buffer_bytes);
  ~DirectReader();
  DirectReader(const DirectReader&) = delete;
  DirectReader& operator=(const DirectReader&) = delete;

  bool uses_io_uring() const { return ring_ != nullptr; }

  /// Fills `into` from `offset` of the file by its direct descriptor. False when the system refuses a direct
  /// read after all, or puts it off (EAGAIN) again and again: then nothing is known of `into`. Throws
  /// Error(changed_during_read) at an early end of file, Error(io_error).
  bool read(const RegularFile& file, const FileDescriptor& direct, uint64_t offset,
            std::span<std::byte> into);

 private:
  struct CloseRing {
    void operator()(io_uring* ring) const;
  };
  struct Piece;
  struct Job;

  bool read_in_turn(Job& job);
  bool read_at_once(Job& job);

  uint64_t piece_bytes_;
  unsigned depth_;
  HostMemory buffer_;
  std::unique_ptr<io_uring, CloseRing> ring_;
};

}  // namespace hfload
