#include "core/base/file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "core/base/error.h"
#include "core/base/system_error.h"

namespace hfload {
namespace {

// Those that linux/magic.h of older kernels lacks.
constexpr uint64_t kNetworkFileSystems[] = {
    NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, CODA_SUPER_MAGIC, AFS_SUPER_MAGIC, V9FS_MAGIC,
    0xff534d42,  // CIFS
    0xfe534d42,  // SMB2
    0x00c36400,  // Ceph
    0x0bd00bd0,  // Lustre
    0x65735546,  // FUSE, which object stores are mounted by
    0x19830326,  // BeeGFS
    0x47504653,  // GPFS
    0x01161970,  // GFS2
    0x6b414653,  // the kernel's AFS
};

FileIdentity identity_of(const struct stat& status) {
  return {.device = status.st_dev,
          .inode = status.st_ino,
          .bytes = static_cast<uint64_t>(status.st_size),
          .modified_ns = int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec};
}

struct stat status_of(const RegularFile& file) {
  struct stat status {};
  if (fstat(file.fd.get(), &status) != 0)
    throw system_error("reading the file's status", errno, file.path, PathUse::read);
  return status;
}

Error missing_file(const std::string& path) {
  std::array<char, PATH_MAX> target{};
  const ssize_t length = readlink(path.c_str(), target.data(), target.size());
  if (length < 0) return Error(ErrorCode::not_found, "the file does not exist").with_path(path);
  return Error(ErrorCode::not_found, "the symbolic link leads to a file that does not exist")
      .with_path(path)
      .with_hint(fmt::format("It points to {}. Download that file again, or mend the link.",
                             std::string_view(target.data(), static_cast<size_t>(length))));
}

Error open_error(int error, const std::string& path) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
      return missing_file(path);
    case ELOOP:
      return Error(ErrorCode::not_found, "the symbolic links lead in a circle")
          .with_path(path)
          .with_hint("Replace the link by the file itself.");
    case ENXIO:
    case ENODEV:
      return Error(ErrorCode::not_a_file, "the path is a socket or a device, not a file").with_path(path);
    default:
      return system_error("opening the file", error, path, PathUse::read);
  }
}

constexpr int kReadFlags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

RegularFile adopt_regular_file(FileDescriptor fd, std::string path) {
  RegularFile file{.fd = std::move(fd), .identity = {}, .path = std::move(path)};
  const struct stat status = status_of(file);
  if (!S_ISREG(status.st_mode)) {
    const std::string_view kind = S_ISDIR(status.st_mode)    ? "a directory"
                                  : S_ISFIFO(status.st_mode) ? "a pipe"
                                                             : "a device";
    throw Error(ErrorCode::not_a_file, fmt::format("the path is {}, not a file", kind)).with_path(file.path);
  }
  file.identity = identity_of(status);
  return file;
}

RegularFile duplicate(const RegularFile& file) {
  FileDescriptor fd(fcntl(file.fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!fd) throw system_error("opening the file once more", errno, file.path, PathUse::read);
  return {std::move(fd), file.identity, file.path};
}

FileDescriptor create_unnamed_file(const std::string& directory) {
  FileDescriptor fd(
      retry_interrupted([&] { return open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); }));
  if (fd) return fd;
  // File systems without O_TMPFILE, NFS and FUSE among them.
  std::string path = directory + "/hfload-XXXXXX";
  fd = FileDescriptor(mkostemp(path.data(), O_CLOEXEC));
  if (!fd) throw system_error("creating a temporary file", errno, directory);
  unlink(path.c_str());
  return fd;
}

RegularFile open_regular_file(const std::string& path) {
  if (path.find('\0') != std::string::npos) {
    throw Error(ErrorCode::not_found, "the path has a NUL character").with_path(path);
  }
  FileDescriptor fd(retry_interrupted([&] { return open(path.c_str(), kReadFlags); }));
  if (!fd) throw open_error(errno, path);
  return adopt_regular_file(std::move(fd), path);
}

bool is_on_network_file_system(const RegularFile& file) {
  struct statfs status {};
  if (fstatfs(file.fd.get(), &status) != 0) return false;
  const auto type = static_cast<uint64_t>(static_cast<uint32_t>(status.f_type));
  return std::ranges::find(kNetworkFileSystems, type) != std::end(kNetworkFileSystems);
}

bool is_same_state(const FileIdentity& now, const FileIdentity& before, bool on_network_file_system) {
  if (!on_network_file_system) return now == before;
  return now.bytes == before.bytes && now.modified_ns == before.modified_ns;
}

Error changed_during_read(const RegularFile& file) {
  return Error(ErrorCode::changed_during_read, "the file was truncated or replaced while it was read")
      .with_path(file.path)
      .with_hint("Wait until nothing writes to the file and run the command again.");
}

Error read_failed(const RegularFile& file, uint64_t offset, int error) {
  return system_error("reading", error, file.path, PathUse::read).with_offset(offset);
}

void read_exactly(const RegularFile& file, uint64_t offset, std::span<std::byte> into) {
  // Linux moves at most 2^31 - 4096 bytes in one call.
  constexpr size_t kMaxBytesPerCall = size_t{1} << 30;
  while (!into.empty()) {
    if (offset > static_cast<uint64_t>(INT64_MAX)) throw changed_during_read(file).with_offset(offset);
    const ssize_t got = pread(file.fd.get(), into.data(), std::min(into.size(), kMaxBytesPerCall),
                              static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw read_failed(file, offset, errno);
    if (got == 0) throw changed_during_read(file).with_offset(offset);
    into = into.subspan(static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
  }
}

void write_exactly(int fd, uint64_t offset, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written =
        retry_interrupted([&] { return pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    if (written < 0) throw system_error("writing", errno, path).with_offset(offset);
    // Else it would be tried for ever.
    if (written == 0) throw system_error("writing", EIO, path).with_offset(offset);
    bytes = bytes.subspan(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
}

void require_unchanged(const RegularFile& file) {
  if (identity_of(status_of(file)) != file.identity) throw changed_during_read(file);
}

std::string read_text_file(const RegularFile& file, uint64_t limit_bytes) {
  if (file.identity.bytes > limit_bytes) {
    throw Error(ErrorCode::json_too_large, fmt::format("the file has {} bytes; at most {} are read as JSON",
                                                       file.identity.bytes, limit_bytes))
        .with_path(file.path);
  }
  std::string text(static_cast<size_t>(file.identity.bytes), '\0');
  read_exactly(file, 0, std::as_writable_bytes(std::span(text)));
  require_unchanged(file);
  return text;
}

MappedFile::MappedFile(const RegularFile& file) : MappedFile() {
  const auto bytes = static_cast<size_t>(file.identity.bytes);
  if (bytes == 0) return;
  void* address = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file.fd.get(), 0);
  if (address == MAP_FAILED) throw system_error("mapping the file", errno, file.path, PathUse::read);
  data_ = {static_cast<const std::byte*>(address), bytes};
  require_unchanged(file);
}

MappedFile::~MappedFile() {
  if (!data_.empty()) munmap(const_cast<std::byte*>(data_.data()), data_.size());
}

}  // namespace hfload
