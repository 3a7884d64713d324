#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/model/checkpoint.h"

namespace hfload {
namespace {

namespace fs = std::filesystem;

// The order in which transformers 4.57 looks for weights in a directory.
constexpr std::array<std::string_view, 8> kWeightFiles = {
    "model.safetensors",  "model.safetensors.index.json",
    "pytorch_model.bin",  "pytorch_model.bin.index.json",
    "tf_model.h5",        "tf_model.h5.index.json",
    "flax_model.msgpack", "flax_model.msgpack.index.json",
};

constexpr uint64_t kMaxRefBytes = 1024;

/// transformers' `_add_variant`: "fp16" goes before the last extension.
std::string with_variant(std::string_view file, std::string_view variant) {
  if (variant.empty()) return std::string(file);
  const size_t dot = file.rfind('.');
  return fmt::format("{}.{}{}", file.substr(0, dot), variant, file.substr(dot));
}

/// The variants that weight files in a directory have: "fp16, fp32".
std::string variants_in(const fs::path& directory) {
  std::vector<std::string> variants;
  std::error_code ignored;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory, ignored)) {
    const std::string name = entry.path().filename().string();
    for (const std::string_view file : kWeightFiles) {
      const size_t dot = file.rfind('.');
      const std::string_view stem = file.substr(0, dot), extension = file.substr(dot);
      if (name.size() <= file.size() + 1 || !name.starts_with(stem) || name[dot] != '.' ||
          !name.ends_with(extension))
        continue;
      const std::string variant = name.substr(dot + 1, name.size() - file.size() - 1);
      if (variant.find('.') == std::string::npos) variants.push_back(variant);
    }
  }
  std::ranges::sort(variants);
  const auto repeated = std::ranges::unique(variants);
  variants.erase(repeated.begin(), repeated.end());
  return fmt::format("{}", fmt::join(variants, ", "));
}

bool is_plain_relative(std::string_view path) {
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    if (part.empty() || part == "." || part == ".." || part.find('\0') != std::string_view::npos)
      return false;
    begin = end + 1;
  }
  return true;
}

/// The repository folder of the hub cache when `directory` (absolute) is in one of its snapshots, as the
/// files there are links to ../../blobs; else the directory itself.
fs::path trust_root_of(const fs::path& directory) {
  for (fs::path above = directory; above.has_relative_path(); above = above.parent_path()) {
    const fs::path parent = above.parent_path();
    if (parent.filename() == "snapshots" &&
        parent.parent_path().filename().string().starts_with("models--")) {
      return parent.parent_path();
    }
  }
  return directory;
}

/// Absolute only inside a hub cache, so that messages show paths as the user wrote them.
std::pair<fs::path, fs::path> directory_and_trust_root(const fs::path& directory) {
  fs::path absolute = fs::absolute(directory).lexically_normal();
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  fs::path root = trust_root_of(absolute);
  if (root == absolute) return {directory, directory};
  return {std::move(absolute), std::move(root)};
}

ModelLocation locate_in_directory(const fs::path& directory, const fs::path& trust_root,
                                  const LocateOptions& options) {
  ModelLocation found;
  found.directory = directory.string();
  found.trust_root = trust_root.string();
  if (fs::exists(directory / "config.json")) found.config_path = (directory / "config.json").string();
  for (const std::string_view file : kWeightFiles) {
    const fs::path path = directory / with_variant(file, options.variant);
    // A dangling link is a download that went wrong; opening it says so.
    std::error_code ignored;
    if (fs::exists(path, ignored) || fs::is_symlink(path, ignored)) {
      found.weights_path = path.string();
      break;
    }
  }
  if (found.weights_path.empty()) found.variants_hint = variants_in(directory);
  if (found.config_path.empty() && found.weights_path.empty()) {
    Error error(ErrorCode::weights_not_found, "the directory holds neither a config.json nor weights");
    error.with_path(found.directory);
    if (!found.variants_hint.empty())
      error.with_hint(fmt::format("Variants are there: --variant {}", found.variants_hint));
    throw error;
  }
  return found;
}

fs::path join_subfolder(const fs::path& directory, const std::string& subfolder) {
  if (subfolder.empty()) return directory;
  if (!is_plain_relative(subfolder)) {
    throw Error(ErrorCode::usage,
                fmt::format("--subfolder '{}' is not a folder below the model directory", subfolder));
  }
  fs::path joined = directory / subfolder;
  if (!fs::is_directory(joined)) {
    throw Error(ErrorCode::not_found, "the subfolder does not exist").with_path(joined.string());
  }
  return joined;
}

ModelLocation locate_file(const fs::path& path) {
  const std::string name = path.filename().string();
  const auto [directory, trust_root] =
      directory_and_trust_root(path.has_parent_path() ? path.parent_path() : fs::path("."));
  ModelLocation found;
  found.directory = directory.string();
  const bool is_index = name.ends_with(".json") && name.find(".index.") != std::string::npos;
  if (name.ends_with(".json") && !is_index) {
    found.config_path = path.string();
    return found;
  }
  // A file that the user names is trusted, links and all; what an index names is not.
  found.weights_path = is_index ? (directory / name).string() : path.string();
  if (is_index) found.trust_root = trust_root.string();
  if (fs::exists(directory / "config.json")) found.config_path = (directory / "config.json").string();
  return found;
}

bool is_repository_name(std::string_view name) {
  // huggingface_hub's `validate_repo_id`.
  const auto is_allowed = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '_' || c == '.' || c == '/';
  };
  if (name.empty() || name.size() > 96 || !std::ranges::all_of(name, is_allowed) ||
      std::ranges::count(name, '/') > 1)
    return false;
  if (name.find("--") != std::string_view::npos || name.find("..") != std::string_view::npos ||
      name.ends_with(".git"))
    return false;
  return is_plain_relative(name) && name.front() != '-' && name.front() != '.' && name.back() != '-' &&
         name.back() != '.';
}

bool is_commit_hash(std::string_view text) {
  return text.size() == 40 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

fs::path snapshot_of(const fs::path& repository, const std::string& name, const std::string& revision) {
  std::string commit = revision;
  if (!is_commit_hash(revision)) {
    const std::string hint = "Name a cached revision, or download this one first.";
    if (!is_plain_relative(revision)) {
      throw Error(ErrorCode::unsafe_path, fmt::format("'{}' is not the name of a revision", revision));
    }
    try {
      commit =
          read_text_file(open_regular_file_beneath(repository.string(), "refs/" + revision), kMaxRefBytes);
    } catch (const Error& e) {
      if (e.code() != ErrorCode::not_found) throw;
      throw Error(ErrorCode::not_found,
                  fmt::format("the hub cache has no revision '{}' of {}", revision, name))
          .with_path((repository / "refs" / revision).string())
          .with_hint(hint);
    }
    while (!commit.empty() && (commit.back() == '\n' || commit.back() == '\r' || commit.back() == ' '))
      commit.pop_back();
    if (!is_commit_hash(commit)) {
      throw Error(ErrorCode::unsafe_path, "a reference in the hub cache is not a commit hash")
          .with_path((repository / "refs" / revision).string());
    }
  }
  fs::path snapshot = repository / "snapshots" / commit;
  if (!fs::is_directory(snapshot)) {
    throw Error(ErrorCode::not_found,
                fmt::format("the hub cache has no snapshot of {} at '{}'", name, revision))
        .with_path(snapshot.string())
        .with_hint("Download the model first, or give the path of a model directory.");
  }
  return snapshot;
}

ModelLocation locate_in_hub_cache(const std::string& model, const LocateOptions& options) {
  const size_t at = model.find('@');
  const std::string name = model.substr(0, at);
  const std::string revision = at == std::string::npos ? "main" : model.substr(at + 1);
  if (!is_repository_name(name) || revision.empty()) {
    throw Error(ErrorCode::not_found, "no such file or directory, and not the name of a repository either")
        .with_path(model);
  }
  std::string folder = "models--" + name;
  if (const size_t slash = folder.find('/'); slash != std::string::npos) folder.replace(slash, 1, "--");
  const fs::path repository = fs::path(options.cache.hub_cache) / folder;
  if (options.cache.hub_cache.empty() || !fs::is_directory(repository)) {
    throw Error(ErrorCode::not_found, "no such file or directory, and no such repository in the hub cache")
        .with_path(model)
        .with_hint(
            fmt::format("Looked for {}. Download the model first, or give the path of a model directory.",
                        repository.string()));
  }
  const fs::path directory = join_subfolder(snapshot_of(repository, name, revision), options.subfolder);
  return locate_in_directory(directory, repository, options);
}

ModelLocation locate_weights(const std::string& model, const LocateOptions& options) {
  std::error_code ignored;
  const fs::path path(model);
  if (fs::is_directory(path, ignored)) {
    const auto [directory, trust_root] = directory_and_trust_root(path);
    return locate_in_directory(join_subfolder(directory, options.subfolder), trust_root, options);
  }
  if (fs::exists(path, ignored)) return locate_file(path);
  return locate_in_hub_cache(model, options);
}

}  // namespace

ModelLocation locate_model(const std::string& model, const LocateOptions& options) {
  ModelLocation location = locate_weights(model, options);
  location.state_dict_key = options.key;
  return location;
}

}  // namespace hfload
