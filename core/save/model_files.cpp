#include "core/save/model_files.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "core/base/directory.h"
#include "core/base/error.h"

namespace hfload {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 19> kWeightExtensions = {
    ".safetensors", ".bin",       ".pt",   ".pth",     ".ckpt", ".h5",     ".msgpack",
    ".onnx",        ".onnx_data", ".gguf", ".ggml",    ".ot",   ".tflite", ".pkl",
    ".pickle",      ".npz",       ".npy",  ".mlmodel", ".pb"};
constexpr size_t kMostEntries = 10'000;
constexpr int kDeepest = 4;

bool is_weights(std::string_view name) {
  const bool is_index = name.ends_with(".json") && name.find(".index.") != std::string_view::npos;
  return is_index || std::ranges::any_of(kWeightExtensions, [&](std::string_view extension) {
           return name.ends_with(extension);
         });
}

class FileFinder {
 public:
  explicit FileFinder(const ModelLocation& location)
      : root_(location.directory.empty() ? "." : location.directory) {
    for (const std::string& folder : location.own_folders) {
      std::error_code fault;
      fs::path canonical = fs::canonical(folder.empty() ? "." : folder, fault);
      if (!fault) own_.push_back(std::move(canonical));
    }
  }

  void search() { search(root_, 1); }

  std::vector<CopiedFile> take() {
    std::ranges::sort(found_, {}, &CopiedFile::name);
    return std::move(found_);
  }

 private:
  void search(const fs::path& folder, int depth) {
    for (const std::string& name : list_directory(folder.string())) {
      if (++entries_ > kMostEntries) {
        throw Error(ErrorCode::io_error, fmt::format("the directory has more than {} entries", kMostEntries))
            .with_path(root_.string())
            .with_hint("Give a directory that holds the model and nothing else.");
      }
      if (!name.starts_with('.')) consider(folder / name, name, depth);
    }
  }

  void consider(const fs::path& path, const std::string& name, int depth) {
    std::error_code fault;
    if (fs::is_directory(path, fault)) {
      if (depth < kDeepest && !fs::is_symlink(path, fault)) search(path, depth + 1);
      return;
    }
    if (!fs::is_regular_file(path, fault) || is_weights(name) || !is_own(path)) return;
    const std::string relative = path.lexically_relative(root_).string();
    if (relative != "config.json")
      found_.push_back({relative, path.string(), uint64_t{fs::file_size(path, fault)}});
  }

  /// Whether the file itself lies in the model's own folders: a link to another's file would copy that.
  bool is_own(const fs::path& path) const {
    std::error_code fault;
    const fs::path target = fs::canonical(path, fault);
    return !fault && std::ranges::any_of(own_, [&](const fs::path& folder) {
      return std::mismatch(folder.begin(), folder.end(), target.begin(), target.end()).first == folder.end();
    });
  }

  fs::path root_;
  std::vector<fs::path> own_;
  std::vector<CopiedFile> found_;
  size_t entries_ = 0;
};

}  // namespace

std::vector<CopiedFile> find_model_files(const ModelLocation& location) {
  if (location.is_file) return {};
  FileFinder finder(location);
  finder.search();
  return finder.take();
}

}  // namespace hfload
