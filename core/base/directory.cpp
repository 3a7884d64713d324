#include "core/base/directory.h"

#include <dirent.h>
#include <fcntl.h>

#include <algorithm>
#include <memory>
#include <string_view>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/system_error.h"

namespace hfload {
namespace {

struct CloseDirectory {
  void operator()(DIR* stream) const { closedir(stream); }
};

}  // namespace

std::vector<std::string> list_directory(int directory, const std::string& path) {
  FileDescriptor fd(
      retry_interrupted([&] { return openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  const std::unique_ptr<DIR, CloseDirectory> stream(fd ? fdopendir(fd.get()) : nullptr);
  if (stream == nullptr) throw system_error("listing the directory", errno, path, PathUse::read);
  fd.release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) throw system_error("listing the directory", errno, path, PathUse::read);
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> list_directory(const std::string& path) {
  const FileDescriptor fd(
      retry_interrupted([&] { return open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
  if (fd) return list_directory(fd.get(), path);
  if (errno == ENOENT) throw Error(ErrorCode::not_found, "the directory does not exist").with_path(path);
  if (errno == ENOTDIR)
    throw Error(ErrorCode::not_a_file, "a file stands where a directory is needed").with_path(path);
  throw system_error("opening the directory", errno, path, PathUse::read);
}

}  // namespace hfload
