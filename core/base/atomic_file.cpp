#include "core/base/atomic_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <span>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/system_error.h"

namespace hfload {
namespace {

/// The file that is to be replaced, links followed; the path itself where nothing is there yet.
std::string target_of(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return path;
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::not_a_file, S_ISDIR(status.st_mode) ? "the path is a directory, not a file"
                                                               : "the path is a pipe or a device, not a file")
        .with_path(path);
  }
  const std::unique_ptr<char, decltype(&std::free)> resolved(realpath(path.c_str(), nullptr), &std::free);
  if (resolved == nullptr) throw system_error("resolving the path", errno, path);
  return resolved.get();
}

/// A new file beside `target`, with the rights that the process gives new files.
FileDescriptor create_beside(const std::string& target, std::string& temporary) {
  constexpr int kTries = 100;  // names that a killed process left behind
  for (int i = 0; i < kTries; ++i) {
    temporary = fmt::format("{}.tmp-{}-{}", target, getpid(), i);
    FileDescriptor fd(open(temporary.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666));
    if (fd || errno != EEXIST) return fd;
  }
  return {};
}

}  // namespace

void write_file_atomically(const std::string& path, std::string_view text) {
  write_file_atomically(path, [&](const TextSink& sink) { sink(text); });
}

void write_file_atomically(const std::string& path, const std::function<void(const TextSink&)>& write) {
  const std::string target = target_of(path);
  std::string temporary;
  const FileDescriptor fd = create_beside(target, temporary);
  if (!fd && (errno == ENOENT || errno == ENOTDIR)) {
    throw Error(ErrorCode::not_found, "the directory that the file is to be written to does not exist")
        .with_path(path)
        .with_hint("Make the directory first, or write to another one.");
  }
  if (!fd) throw system_error("creating a file beside it", errno, path);
  try {
    uint64_t offset = 0;
    write([&](std::string_view part) {
      write_exactly(fd.get(), offset, std::as_bytes(std::span(part)), path);
      offset += part.size();
    });
    struct stat replaced {};
    if (stat(target.c_str(), &replaced) == 0 && fchmod(fd.get(), replaced.st_mode & 07777) != 0)
      throw system_error("setting the file's rights", errno, path);
    if (fsync(fd.get()) != 0) throw system_error("flushing to the disk", errno, path);
    if (rename(temporary.c_str(), target.c_str()) != 0) throw system_error("renaming", errno, path);
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
}

}  // namespace hfload
