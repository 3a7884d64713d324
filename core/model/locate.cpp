#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "core/base/directory.h"
#include "core/base/error.h"
#include "core/base/file.h"
#include "core/base/join.h"
#include "core/base/system_error.h"
#include "core/model/checkpoint.h"
#include "core/model/folder.h"

namespace hfload {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxRefBytes = 1024;

/// Names in a directory, for a hint: none where it cannot be listed.
std::vector<std::string> names_in(const fs::path& directory) {
  try {
    return list_directory(directory.string());
  } catch (const Error&) {
    return {};
  }
}

/// Links are followed. Throws Error(io_error) where the way there cannot be searched.
bool exists_as_directory(const fs::path& path) {
  std::error_code fault;
  const fs::file_status status = fs::status(path, fault);
  if (!fs::status_known(status) && fault != std::errc::filename_too_long)
    throw system_error("looking for the directory", fault.value(), path.string(), PathUse::read);
  return fs::is_directory(status);
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

/// The repository folder of the hub cache when `directory` (absolute) is in one of its snapshots; else empty.
fs::path repository_of(const fs::path& directory) {
  for (fs::path above = directory; above.has_relative_path(); above = above.parent_path()) {
    const fs::path parent = above.parent_path();
    if (parent.filename() == "snapshots" &&
        parent.parent_path().filename().string().starts_with("models--")) {
      return parent.parent_path();
    }
  }
  return {};
}

/// Fills in `directory`, absolute only inside a hub cache, so that messages show paths as the user wrote
/// them, and what belongs to it.
ModelLocation in_directory(const fs::path& directory) {
  std::error_code fault;
  fs::path absolute = fs::absolute(directory, fault).lexically_normal();
  if (fault) {
    throw Error(ErrorCode::io_error, fmt::format("there is no working directory: {}", fault.message()))
        .with_path(directory.string())
        .with_hint("It was deleted or moved: change to another one, or give absolute paths.");
  }
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  const fs::path repository = repository_of(absolute);
  ModelLocation found;
  if (repository.empty()) {
    found.directory = directory.string();
    found.own_folders = {found.directory};
  } else {
    found.directory = absolute.string();
    found.own_folders = {repository.string(), (repository.parent_path() / "blobs").string()};
  }
  return found;
}

constexpr std::string_view kConfig = "config.json";

/// The path of config.json in a directory; empty where it has none.
std::string config_in(const fs::path& directory) {
  return holds_file(directory.string(), std::string(kConfig)) ? (directory / kConfig).string() : "";
}

/// What to throw where a directory has no weights of the variant that was asked for.
Error no_such_variant(const std::string& directory, const std::string& variant, bool has_config) {
  std::string hint;
  const FolderWeights plain = find_weights(directory, "");
  if (!plain.file.empty() || !plain.shards.empty()) {
    hint =
        fmt::format("Without --variant there is {}.", plain.file.empty() ? plain.shards.front() : plain.file);
  }
  if (const std::string variants = variants_in(directory); !variants.empty())
    hint += fmt::format("{}Weights of these variants are there: {}.", hint.empty() ? "" : " ", variants);
  if (hint.empty()) {
    hint = "The directory holds no weights of any variant.";
    if (has_config) hint += " Without --variant config.json alone is read.";
  }
  return Error(ErrorCode::weights_not_found, fmt::format("there are no weights of the variant '{}'", variant))
      .with_path(directory)
      .with_hint(hint);
}

Error no_model(const ModelLocation& location) {
  if (location.obstacle) return *location.obstacle;
  return Error(ErrorCode::weights_not_found, "the directory holds neither a config.json nor weights")
      .with_path(location.directory)
      .with_hint(
          location.variants_hint.empty()
              ? "Give the directory that holds config.json or model.safetensors; --subfolder names one "
                "below MODEL."
              : fmt::format("Variants are there: --variant {}", location.variants_hint));
}

/// Looks for config and weights in `found.directory`.
ModelLocation locate_in_directory(ModelLocation found, const LocateOptions& options) {
  const fs::path directory(found.directory);
  found.config_path = config_in(directory);
  FolderWeights weights = find_weights(found.directory, options.variant);
  if (!weights.note.empty()) found.notes.push_back(std::move(weights.note));
  found.unindexed_shards = std::move(weights.shards);
  const std::string& first = found.unindexed_shards.empty() ? weights.file : found.unindexed_shards.front();
  if (!first.empty()) {
    found.weights_path = (directory / first).string();
    return found;
  }
  if (!options.variant.empty())
    throw no_such_variant(found.directory, options.variant, !found.config_path.empty());
  found.variants_hint = variants_in(found.directory);
  if (found.variants_hint.empty()) found.obstacle = explain_folder(found.directory);
  if (found.config_path.empty()) throw no_model(found);
  return found;
}

/// The folders in a directory, of which many are not all named: "vae, unet".
std::string folders_in(const fs::path& directory) {
  constexpr size_t kMostNamed = 8;
  std::vector<std::string> names = names_in(directory);
  std::erase_if(names, [&](const std::string& name) {
    std::error_code ignored;
    return !fs::is_directory(directory / name, ignored);
  });
  if (names.size() > kMostNamed) {
    names.resize(kMostNamed);
    names.emplace_back("…");
  }
  return join(names, ", ");
}

fs::path join_subfolder(const fs::path& directory, const std::string& subfolder) {
  if (subfolder.empty()) return directory;
  if (!is_plain_relative(subfolder)) {
    throw Error(ErrorCode::usage,
                fmt::format("--subfolder '{}' is not a folder below the model directory", subfolder));
  }
  fs::path joined = directory / subfolder;
  if (!exists_as_directory(joined)) {
    const std::string folders = folders_in(directory);
    throw Error(ErrorCode::not_found, "the subfolder does not exist")
        .with_path(joined.string())
        .with_hint(
            folders.empty()
                ? "The model directory has no folders: leave --subfolder out."
                : fmt::format("The model directory has these folders: {}. Choose one with --subfolder, or "
                              "leave it out.",
                              folders));
  }
  return joined;
}

ModelLocation locate_file(const fs::path& path) {
  const std::string name = path.filename().string();
  ModelLocation found = in_directory(path.has_parent_path() ? path.parent_path() : fs::path("."));
  const fs::path directory(found.directory);
  const bool is_index = name.ends_with(".json") && name.find(".index.") != std::string::npos;
  if (name.ends_with(".json") && !is_index) {
    found.config_path = path.string();
    found.is_config = true;
    return found;
  }
  found.weights_path = is_index ? (directory / name).string() : path.string();
  found.is_file = !is_index;
  found.config_path = config_in(directory);
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

/// What brings a model to the cache, by the command of the huggingface_hub package.
std::string download_command(const std::string& name, const std::string& revision) {
  return revision == "main" ? fmt::format("hf download {}", name)
                            : fmt::format("hf download {} --revision {}", name, revision);
}

constexpr std::string_view kModelForms =
    "MODEL is a model directory, a weight file, a shard index, a config.json, or org/name[@revision] in the "
    "local "
    "Hugging Face cache.";

/// How far a path that does not exist does: "./models holds no 'gpt2'.".
std::string where_it_ends(const fs::path& path) {
  std::error_code ignored;
  fs::path missing = path;
  if (!missing.has_filename()) missing = missing.parent_path();
  fs::path parent = missing.parent_path();
  while (!parent.empty() && !fs::exists(parent, ignored) && parent != parent.parent_path()) {
    missing = parent;
    parent = parent.parent_path();
  }
  if (parent.empty()) parent = ".";
  if (!fs::exists(parent, ignored)) return "";
  if (!fs::is_directory(parent, ignored)) return fmt::format("{} is a file. ", parent.string());
  return fmt::format("{} holds no '{}'. ", parent.string(), missing.filename().string());
}

/// Why a path that is no repository's name leads nowhere.
Error no_such_path(const std::string& model) {
  std::error_code fault;
  if (fs::is_symlink(fs::symlink_status(model, fault))) {
    return Error(ErrorCode::not_found, "the symbolic link leads nowhere")
        .with_path(model)
        .with_hint(fmt::format("It points to {}. Mend the link, or give the model itself.",
                               fs::read_symlink(model, fault).string()));
  }
  return Error(ErrorCode::not_found, "no such file or directory")
      .with_path(model)
      .with_hint(fmt::format("{}{}", where_it_ends(model), kModelForms));
}

fs::path snapshot_of(const fs::path& repository, const std::string& name, const std::string& revision) {
  std::string commit = revision;
  if (!is_commit_hash(revision)) {
    if (!is_plain_relative(revision)) {
      throw Error(ErrorCode::unsafe_path, fmt::format("'{}' is not the name of a revision", revision));
    }
    try {
      commit = read_text_file(open_regular_file((repository / "refs" / revision).string()), kMaxRefBytes);
    } catch (const Error& e) {
      if (e.code() != ErrorCode::not_found) throw;
      throw Error(ErrorCode::not_found,
                  fmt::format("the hub cache has no revision '{}' of {}", revision, name))
          .with_path((repository / "refs" / revision).string())
          .with_hint(fmt::format("Name a revision that is cached, or download this one: {}.",
                                 download_command(name, revision)));
    }
    while (!commit.empty() && (commit.back() == '\n' || commit.back() == '\r' || commit.back() == ' '))
      commit.pop_back();
    if (!is_commit_hash(commit)) {
      throw Error(ErrorCode::unsafe_path, "a reference in the hub cache is not a commit hash")
          .with_path((repository / "refs" / revision).string());
    }
  }
  fs::path snapshot = repository / "snapshots" / commit;
  if (!exists_as_directory(snapshot)) {
    throw Error(ErrorCode::not_found,
                fmt::format("the hub cache has no snapshot of {} at '{}'", name, revision))
        .with_path(snapshot.string())
        .with_hint(fmt::format("Download it first: {}; or give the path of a model directory.",
                               download_command(name, revision)));
  }
  return snapshot;
}

ModelLocation locate_in_hub_cache(const std::string& model, const LocateOptions& options) {
  const size_t at = model.find('@');
  const std::string name = model.substr(0, at);
  const std::string revision = at == std::string::npos ? "main" : model.substr(at + 1);
  std::error_code fault;
  const bool is_link = fs::is_symlink(fs::symlink_status(model, fault));
  if (!is_repository_name(name) || revision.empty() || is_link) throw no_such_path(model);
  std::string folder = "models--" + name;
  if (const size_t slash = folder.find('/'); slash != std::string::npos) folder.replace(slash, 1, "--");
  const fs::path repository = fs::path(options.cache.hub_cache) / folder;
  if (options.cache.hub_cache.empty() || !exists_as_directory(repository)) {
    throw Error(ErrorCode::not_found, "no such file or directory, and no such repository in the hub cache")
        .with_path(model)
        .with_hint(
            options.cache.hub_cache.empty()
                ? std::string(kModelForms)
                : fmt::format("Looked for {} and {}. Download the model first: {}; or see whether the path "
                              "is right, or HF_HUB_CACHE or HF_HOME name another cache.",
                              name, repository.string(), download_command(name, revision)));
  }
  const fs::path directory = join_subfolder(snapshot_of(repository, name, revision), options.subfolder);
  return locate_in_directory(in_directory(directory), options);
}

ModelLocation locate_weights(const std::string& model, const LocateOptions& options) {
  std::error_code ignored;
  const fs::path path(model);
  if (fs::is_directory(path, ignored)) {
    ModelLocation found = in_directory(path);
    found.directory = join_subfolder(found.directory, options.subfolder).string();
    return locate_in_directory(std::move(found), options);
  }
  std::error_code fault;
  if (fs::exists(path, fault)) return locate_file(path);
  if (fault == std::errc::permission_denied) {
    throw Error(ErrorCode::io_error, "a directory on the way to the path may not be searched")
        .with_path(model)
        .with_hint("See who owns the path and who may read there.");
  }
  return locate_in_hub_cache(model, options);
}

}  // namespace

std::string repository_name(const ModelLocation& location) {
  if (location.own_folders.size() < 2) return "";
  std::string name = fs::path(location.own_folders.front()).filename().string().substr(8);  // "models--"
  if (const size_t dashes = name.find("--"); dashes != std::string::npos) name.replace(dashes, 2, "/");
  return name;
}

ModelLocation locate_model(const std::string& model, const LocateOptions& options) {
  ModelLocation location = locate_weights(model, options);
  location.state_dict_key = options.key;
  location.temporary_directory = options.temporary_directory;
  return location;
}

}  // namespace hfload
