#include "core/model/pickle_files.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "core/base/directory.h"
#include "core/base/system_error.h"
#include "core/format/pickle_file_scan.h"

namespace hfload {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostFiles = 100'000;

/// Of what macOS lays beside files and into folders.
bool is_macos_file(const std::string& path) {
  const std::string name = fs::path(path).filename().string();
  return name.starts_with("._") || name == ".DS_Store";
}

bool is_pickle_file(const std::string& path) {
  if (has_pickle_name(name_for_scan(path))) return true;
  const RegularFile file = open_regular_file(path);
  return holds_pickles(FileSource(file));
}

class Search {
 public:
  explicit Search(std::string root) : root_(std::move(root)) {}

  PickleFiles run() && {
    look_into(root_);
    std::ranges::sort(found_.files);
    return std::move(found_);
  }

 private:
  void look_into(const std::string& folder) {
    std::vector<std::string> names;
    try {
      names = list_directory(folder);
    } catch (const Error& error) {
      if (folder == root_) throw;
      found_.faults.push_back(error);
      return;
    }
    for (const std::string& name : names) consider((fs::path(folder) / name).string());
  }

  void consider(const std::string& path) {
    std::error_code fault, ignored;
    const fs::file_status status = fs::status(path, fault);
    if (!fs::status_known(status)) {
      found_.faults.push_back(system_error("looking at the file", fault.value(), path, PathUse::read));
    } else if (fs::is_directory(status)) {
      if (!fs::is_symlink(fs::symlink_status(path, ignored))) look_into(path);
    } else if (fs::is_regular_file(status)) {  // a pipe or a device is not opened
      add(path);
    } else if (!fs::exists(status)) {
      found_.faults.push_back(
          Error(ErrorCode::not_found, "the symbolic link leads nowhere, so that nothing was scanned")
              .with_path(path)
              .with_hint("Download the file that it points to, or delete the link."));
    }
  }

  void add(const std::string& path) {
    try {
      if (!is_pickle_file(path)) return;
    } catch (const Error& error) {
      found_.faults.push_back(error);
      return;
    }
    if (found_.files.size() == kMostFiles) {
      throw Error(ErrorCode::unsupported_format, "the directory holds more than 100,000 files to scan")
          .with_path(root_)
          .with_hint("Scan its folders one by one.");
    }
    found_.files.push_back(path);
  }

  std::string root_;
  PickleFiles found_;
};

}  // namespace

std::string name_for_scan(const std::string& path) { return is_macos_file(path) ? std::string() : path; }

PickleFiles find_pickle_files(const std::string& model, const LocateOptions& options) {
  std::error_code ignored;
  if (fs::is_directory(model, ignored)) return Search(model).run();
  if (!fs::exists(model, ignored)) return Search(locate_model(model, options).directory).run();
  PickleFiles found;
  (is_pickle_file(model) ? found.files : found.others).push_back(model);
  return found;
}

}  // namespace hfload
