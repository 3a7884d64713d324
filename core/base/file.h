#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "core/base/error.h"

namespace hfload {

/// An owned file descriptor.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();

  int get() const { return fd_; }
  /// Gives the descriptor away: the caller closes it.
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// What tells one state of a file from another. Two equal identities mean: not replaced, truncated or
/// rewritten since.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t bytes = 0;
  int64_t modified_ns = 0;
  bool operator==(const FileIdentity&) const = default;
};

/// An open regular file and its identity at the time of opening.
struct RegularFile {
  FileDescriptor fd;
  FileIdentity identity;
  std::string path;
};

/// Takes an open descriptor. `path` is for messages. Throws Error(not_a_file, io_error).
RegularFile adopt_regular_file(FileDescriptor fd, std::string path);

/// Another descriptor of the same open file. Throws Error(io_error).
RegularFile duplicate(const RegularFile& file);

/// An empty file without a name, for reading and writing: it is gone once its last descriptor is closed.
/// Throws Error(no_space, io_error).
FileDescriptor create_unnamed_file(const std::string& directory);

/// Opens `path` for reading. Never blocks on a pipe and never opens a device.
/// Throws Error(not_found), Error(not_a_file), Error(io_error).
RegularFile open_regular_file(const std::string& path);

/// Whether the file lies on a network file system (NFS, SMB, Ceph, Lustre, FUSE and their like), as its
/// statfs(2) says.
bool is_on_network_file_system(const RegularFile& file);

/// Whether two openings found a file in the same state. On a network file system size and time have to do:
/// inode and device may be others at each opening there.
bool is_same_state(const FileIdentity& now, const FileIdentity& before, bool on_network_file_system);

/// What to throw when a file ends before the bytes it was checked to have, or is another one by now.
Error changed_during_read(const RegularFile& file);
/// What to throw when a read fails with an errno value.
Error read_failed(const RegularFile& file, uint64_t offset, int error);

/// Fills `into` from `offset`, retrying interrupted and short reads.
/// Throws Error(changed_during_read) at an early end of file, Error(io_error).
void read_exactly(const RegularFile& file, uint64_t offset, std::span<std::byte> into);

/// Writes all of `bytes` at `offset`, retrying interrupted and short writes. `path` is for messages.
/// Throws Error(no_space, io_error).
void write_exactly(int fd, uint64_t offset, std::span<const std::byte> bytes, const std::string& path);

/// Throws Error(changed_during_read) when the file behind the descriptor no longer has the identity it was
/// opened with.
void require_unchanged(const RegularFile& file);

/// The whole file as text. Throws Error(json_too_large) above `limit_bytes`, before anything is allocated.
std::string read_text_file(const RegularFile& file, uint64_t limit_bytes);

/// A private read-only mapping of a whole file. Reading it after the file was truncated raises SIGBUS: use it
/// only for what stays on disk, and read_exactly for everything else.
class MappedFile {
 public:
  MappedFile() = default;
  /// Throws Error(changed_during_read) when the file is not as it was opened once the mapping is there,
  /// Error(io_error).
  explicit MappedFile(const RegularFile& file);
  MappedFile(MappedFile&& other) noexcept : data_(std::exchange(other.data_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~MappedFile();

  std::span<const std::byte> bytes() const { return data_; }

 private:
  std::span<const std::byte> data_;
};

}  // namespace hfload
