#include "core/model/pickle_files.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "core/base/error.h"
#include "core/format/pickle_file_scan.h"

namespace hfload {
namespace {

namespace fs = std::filesystem;

constexpr int kMostFolders = 8;
constexpr size_t kMostFiles = 100'000;

std::string start_of(const RegularFile& file) {
  std::string start(std::min<uint64_t>(2, file.identity.bytes), '\0');
  read_exactly(file, 0, std::as_writable_bytes(std::span(start)));
  return start;
}

std::vector<std::string> files_below(const std::string& directory) {
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator it(directory, error), end;
  for (; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored) && it.depth() >= kMostFolders) it.disable_recursion_pending();
    // Links are followed, as those of the hub cache are; what is no regular file, such as a pipe, is not
    // opened.
    if (!it->is_regular_file(ignored)) continue;
    const std::string path = it->path().string();
    if (may_hold_pickle(path, {}) || may_hold_pickle(path, start_of(open_regular_file(path))))
      files.push_back(path);
    if (files.size() > kMostFiles)
      throw Error(ErrorCode::unsupported_format, "the directory holds more than 100,000 files")
          .with_path(directory);
  }
  if (error) {
    throw Error(ErrorCode::io_error, "listing the directory failed: " + error.message()).with_path(directory);
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace

std::vector<std::string> find_pickle_files(const std::string& model, const LocateOptions& options) {
  std::error_code ignored;
  if (fs::is_directory(model, ignored)) return files_below(model);
  if (fs::exists(model, ignored)) return {model};
  return files_below(locate_model(model, options).directory);
}

}  // namespace hfload
