#include "core/check/known_checksums.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <string_view>
#include <utility>

#include "core/base/error.h"
#include "core/base/file.h"
#include "core/save/model_files.h"

namespace hfload {
namespace {

namespace fs = std::filesystem;

/// Of a file that is not the model's: a tokenizer is hashed, and an archive of data is not.
constexpr uint64_t kMostOtherBytes = 64 << 20;

/// A file whose checksum is wanted.
struct Wanted {
  std::string file, path;
  std::optional<uint32_t> shard = std::nullopt;
  bool is_of_model = true;  ///< false: tokenizer, README, …
};

std::string path_in(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : (fs::path(directory) / name).string();
}

std::vector<Wanted> wanted_files(const Checkpoint& checkpoint, std::vector<std::string>& warnings) {
  const ModelLocation& location = checkpoint.location;
  std::vector<Wanted> wanted;
  for (uint32_t s = 0; s < checkpoint.shards.size(); ++s) {
    const Shard& shard = checkpoint.shards[s];
    if (shard.present) wanted.push_back({shard.file, path_in(location.directory, shard.file), s});
  }
  const auto add = [&](const std::string& path) {
    const std::string name = path.substr(path.rfind('/') + 1);
    if (!path.empty() && std::ranges::find(wanted, name, &Wanted::file) == wanted.end())
      wanted.push_back({name, path});
  };
  add(location.weights_path);
  add(location.config_path);
  try {
    for (const CopiedFile& other : find_model_files(location)) {
      if (other.bytes <= kMostOtherBytes) wanted.push_back({other.name, other.path, std::nullopt, false});
    }
  } catch (const Error& error) {
    warnings.push_back(
        fmt::format("checksums of files that are not the model's are not compared: {}", error.message()));
  }
  return wanted;
}

/// A file's own place: its path without links to directories on the way. Empty where it is not there.
fs::path place_of(const std::string& path) {
  std::error_code fault;
  const fs::path given(path);
  const fs::path folder = fs::canonical(given.has_parent_path() ? given.parent_path() : ".", fault);
  return fault ? fs::path() : folder / given.filename();
}

/// Whether a directory is that of a repository in the hub cache: "models--org--name".
bool is_repository(const fs::path& directory) {
  return directory.filename().string().find("--") != std::string::npos;
}

/// By the name of the blob at the end of a file's links. In the store that repositories share
/// (huggingface_hub 1.32) that blob is itself a link, to a file whose name is no hash of its bytes.
std::optional<Checksum> checksum_of_blob(fs::path place) {
  constexpr int kMostLinks = 40;  // as Linux
  for (int link = 0; link < kMostLinks && !place.empty(); ++link) {
    const fs::path folder = place.parent_path();
    if (folder.filename() == "blobs" && is_repository(folder.parent_path())) {
      if (auto checksum = checksum_of_etag(place.filename().string())) return checksum;
    }
    std::error_code fault;
    const fs::path target = fs::read_symlink(place, fault);
    if (fault) return std::nullopt;
    place = place_of((folder / target).string());
  }
  return std::nullopt;
}

/// Where a file lies in a repository, and where the listing of its commit is, if there is one.
struct InRepository {
  std::string path;     ///< relative to the repository
  std::string listing;  ///< a path
};

bool is_commit(std::string_view text) {
  constexpr size_t kDigits = 40;
  return text.size() == kDigits && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// Of a file in a snapshot of the hub cache: models--org--name/snapshots/<commit>/<path>.
std::optional<InRepository> in_snapshot(const fs::path& place) {
  for (fs::path above = place.parent_path(); above.has_relative_path(); above = above.parent_path()) {
    const fs::path snapshots = above.parent_path(), repository = snapshots.parent_path();
    const std::string commit = above.filename().string();
    if (snapshots.filename() == "snapshots" && is_repository(repository) && is_commit(commit)) {
      return InRepository{place.lexically_relative(above).string(),
                          (repository / "trees" / (commit + ".json")).string()};
    }
  }
  return std::nullopt;
}

class Finder {
 public:
  KnownChecksums find(const Checkpoint& checkpoint) {
    const std::vector<Wanted> wanted = wanted_files(checkpoint, result_.warnings);
    for (const Wanted& file : wanted) look_up(file);
    // Of a download there is one, or a few where files were fetched again; of a hostile one as many as files.
    constexpr size_t kMostListings = 64;
    size_t listings = 0;
    for (const auto& [path, files] : listings_) {
      if (++listings > kMostListings) break;
      read_listing(path, files);
    }
    for (const Wanted& file : wanted) take(file);
    return std::move(result_);
  }

 private:
  void look_up(const Wanted& file) {
    const fs::path place = place_of(file.path);
    if (place.empty()) return;
    if (const auto checksum = checksum_of_blob(place)) add(file, *checksum, ChecksumSource::blob_name);
    if (const auto snapshot = in_snapshot(place)) {
      listings_[snapshot->listing].emplace(snapshot->path, file);
      return;
    }
    const fs::path root = download_root(place.parent_path());
    if (!root.empty()) read_metadata(file, place, root);
  }

  /// The directory to which a file below `folder` was downloaded: the nearest that has records of it.
  fs::path download_root(const fs::path& folder) {
    const auto [entry, is_new] = roots_.try_emplace(folder.string());
    if (!is_new) return entry->second;
    for (fs::path above = folder; above.has_relative_path(); above = above.parent_path()) {
      std::error_code fault;
      if (fs::is_directory(above / ".cache/huggingface/download", fault)) return entry->second = above;
    }
    return {};
  }

  void read_metadata(const Wanted& file, const fs::path& place, const fs::path& root) {
    const std::string path = place.lexically_relative(root).string();
    const fs::path records = root / ".cache/huggingface";
    try {
      const RegularFile record = open_regular_file((records / "download" / (path + ".metadata")).string());
      if (record.identity.bytes > kMaxDownloadMetadataBytes)
        throw Error(ErrorCode::invalid_metadata, "the file is too long");
      const DownloadMetadata metadata =
          parse_download_metadata(read_text_file(record, kMaxDownloadMetadataBytes));
      const RegularFile downloaded = open_regular_file(file.path);
      constexpr double kNanoseconds = 1e9, kSlackSeconds = 1;
      const double written = static_cast<double>(downloaded.identity.modified_ns) / kNanoseconds;
      const bool is_outdated = written - kSlackSeconds > metadata.seconds;
      if (const auto checksum = checksum_of_etag(metadata.etag))
        add(file, *checksum, ChecksumSource::download_metadata).is_outdated = is_outdated;
      if (is_outdated) outdated_.push_back(file.file);
      if (is_commit(metadata.commit))
        listings_[(records / "trees" / (metadata.commit + ".json")).string()].emplace(path, file);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found)
        warn(error, (records / "download" / (path + ".metadata")).string());
    }
  }

  void read_listing(const std::string& listing, const std::multimap<std::string, Wanted>& files) {
    std::vector<std::pair<Wanted, ListedFile>> found;
    try {
      const RegularFile opened = open_regular_file(listing);
      read_tree_listing(opened, [&](std::string_view path, const ListedFile& listed) {
        const auto [begin, end] = files.equal_range(std::string(path));
        for (auto file = begin; file != end; ++file) found.emplace_back(file->second, listed);
      });
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found) warn(error, listing);
      return;
    }
    for (const auto& [file, listed] : found) add_listed(file, listed);
  }

  void add_listed(const Wanted& file, const ListedFile& listed) {
    std::vector<KnownChecksum>& known = by_file_[file.file];
    if (!listed.checksum) return;
    const auto same = std::ranges::find(known, *listed.checksum, &KnownChecksum::checksum);
    KnownChecksum& checksum =
        same != known.end() ? *same : add(file, *listed.checksum, ChecksumSource::tree_listing);
    checksum.bytes = listed.bytes;
    checksum.is_outdated = std::ranges::find(outdated_, file.file) != outdated_.end();
  }

  KnownChecksum& add(const Wanted& file, const Checksum& checksum, ChecksumSource source) {
    return by_file_[file.file].emplace_back(
        KnownChecksum{file.file, file.path, file.shard, checksum, source, std::nullopt, false});
  }

  void warn(const Error& error, const std::string& path) {
    result_.warnings.push_back(fmt::format("{}: {}: checksums are not taken from it", path, error.message()));
  }

  void take(const Wanted& file) {
    std::vector<KnownChecksum>& known = by_file_[file.file];
    if (known.empty() && file.is_of_model) result_.without.push_back(file.file);
    std::ranges::move(known, std::back_inserter(result_.known));
  }

  KnownChecksums result_;
  std::map<std::string, std::vector<KnownChecksum>> by_file_;
  std::map<std::string, std::multimap<std::string, Wanted>>
      listings_;                           ///< by path; by path in the repository
  std::map<std::string, fs::path> roots_;  ///< by folder
  std::vector<std::string> outdated_;      ///< files
};

}  // namespace

std::string_view name_of(ChecksumSource source) {
  constexpr std::array<std::string_view, 3> kNames = {"blob_name", "tree_listing", "download_metadata"};
  return kNames[static_cast<size_t>(source)];
}

KnownChecksums find_known_checksums(const Checkpoint& checkpoint) { return Finder().find(checkpoint); }

}  // namespace hfload
