#include "core/base/file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
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

Error open_error(int error, const std::string& path) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
      return Error(ErrorCode::not_found, "the file does not exist").with_path(path);
    case ENXIO:
    case ENODEV:
      return Error(ErrorCode::not_a_file, "the path is a socket or a device, not a file").with_path(path);
    default:
      return system_error("opening the file", error, path, PathUse::read);
  }
}

constexpr int kReadFlags = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
constexpr int kMaxSymbolicLinks = 40;  // as Linux

/// The lookup of RESOLVE_BENEATH in user space: one component at a time, links read and followed by hand.
class BeneathWalk {
 public:
  BeneathWalk(FileDescriptor root, std::string root_path, std::string path)
      : root_path_(std::move(root_path)), path_(std::move(path)) {
    directories_.push_back(std::move(root));
  }

  FileDescriptor open(std::string_view name) {
    push(name);
    while (!pending_.empty()) {
      const std::string component = std::move(pending_.back());
      pending_.pop_back();
      if (component == "..") {
        if (directories_.size() == 1) throw leaves("");
        directories_.pop_back();
      } else if (const std::optional<std::string> target = read_link(component)) {
        follow(component, *target);
      } else if (pending_.empty()) {
        return open_entry(component, kReadFlags);
      } else {
        directories_.push_back(open_entry(component, O_PATH | O_DIRECTORY | O_CLOEXEC));
      }
    }
    throw Error(ErrorCode::not_a_file, "the path is a directory, not a file").with_path(path_);
  }

 private:
  void push(std::string_view name) {
    std::vector<std::string> components;
    for (size_t begin = 0; begin <= name.size();) {
      const size_t end = std::min(name.find('/', begin), name.size());
      const std::string_view component = name.substr(begin, end - begin);
      if (!component.empty() && component != ".") components.emplace_back(component);
      begin = end + 1;
    }
    pending_.insert(pending_.end(), components.rbegin(), components.rend());
  }

  int directory() const { return directories_.back().get(); }

  std::optional<std::string> read_link(const std::string& component) const {
    std::array<char, PATH_MAX> target{};
    const ssize_t length = readlinkat(directory(), component.c_str(), target.data(), target.size());
    if (length >= 0) return std::string(target.data(), static_cast<size_t>(length));
    if (errno == EINVAL) return std::nullopt;
    throw open_error(errno, path_);
  }

  void follow(const std::string& component, const std::string& target) {
    const std::string link = fmt::format("the symbolic link \"{}\" points to \"{}\"", component, target);
    if (target.starts_with('/')) throw leaves(link + ", an absolute path");
    if (++links_ > kMaxSymbolicLinks) {
      throw Error(ErrorCode::unsafe_path, link + ", after more links than a lookup may follow")
          .with_path(path_);
    }
    last_link_ = link;
    push(target);
  }

  FileDescriptor open_entry(const std::string& component, int flags) const {
    FileDescriptor fd(openat(directory(), component.c_str(), flags | O_NOFOLLOW));
    if (!fd) throw open_error(errno, path_);
    return fd;
  }

  Error leaves(std::string link) const {
    if (link.empty()) link = last_link_;
    const std::string reason = link.empty() ? "the path" : link + ", which";
    return Error(ErrorCode::unsafe_path, fmt::format("{} leaves the directory \"{}\"", reason, root_path_))
        .with_path(path_)
        .with_hint("Replace the link by the file itself, or give the directory that really holds the files.");
  }

  std::string root_path_, path_, last_link_;
  std::vector<FileDescriptor> directories_;  ///< from the root to where the walk stands
  std::vector<std::string> pending_;         ///< components still to be walked, the next one last
  int links_ = 0;
};

/// openat2 with RESOLVE_BENEATH; an errno instead of a descriptor where it fails.
std::variant<FileDescriptor, int> openat2_beneath(int root, const std::string& name) {
  open_how how{};
  how.flags = kReadFlags;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  // The kernel gives up with EAGAIN when a directory is renamed during the lookup.
  for (int attempt = 0; attempt < 16; ++attempt) {
    const long fd = syscall(SYS_openat2, root, name.c_str(), &how, sizeof how);
    if (fd >= 0) return FileDescriptor(static_cast<int>(fd));
    if (errno != EAGAIN && errno != EINTR) return errno;
  }
  return EAGAIN;
}

}  // namespace

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) close(fd_);
}

RegularFile open_regular_file(const std::string& path) {
  if (path.find('\0') != std::string::npos) {
    throw Error(ErrorCode::not_found, "the path has a NUL character").with_path(path);
  }
  FileDescriptor fd(retry_interrupted([&] { return open(path.c_str(), kReadFlags); }));
  if (!fd) throw open_error(errno, path);
  return adopt_regular_file(std::move(fd), path);
}

RegularFile open_regular_file_beneath(const std::string& root, const std::string& name,
                                      BeneathLookup lookup) {
  const std::string root_path = root.empty() ? "." : root;
  const std::string path = root.empty() ? name : root.ends_with('/') ? root + name : root + "/" + name;
  if (name.empty() || name.starts_with('/') || name.find('\0') != std::string::npos) {
    throw Error(ErrorCode::unsafe_path, "the name is empty, absolute, or has a NUL character")
        .with_path(path);
  }
  FileDescriptor directory(
      retry_interrupted([&] { return open(root_path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC); }));
  if (!directory) throw open_error(errno, root_path);
  if (lookup == BeneathLookup::kernel) {
    std::variant<FileDescriptor, int> result = openat2_beneath(directory.get(), name);
    if (auto* fd = std::get_if<FileDescriptor>(&result)) return adopt_regular_file(std::move(*fd), path);
    const int error = std::get<int>(result);
    // ENOSYS, EPERM and E2BIG: an old kernel or a filter without openat2. EXDEV and ELOOP: a path that
    // leaves, of which the walk below knows the link that is at fault.
    if (error != ENOSYS && error != EPERM && error != E2BIG && error != EXDEV && error != ELOOP) {
      throw open_error(error, path);
    }
  }
  return adopt_regular_file(BeneathWalk(std::move(directory), root_path, path).open(name), path);
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
