#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/file.h"
#include "core/base/sha.h"

namespace hfload {

/// What the bytes of a file are to hash to.
struct Checksum {
  ShaKind kind = ShaKind::sha256;
  std::string digest;  ///< lower-case hexadecimal digits

  bool operator==(const Checksum&) const = default;
};

/// What the Hub's etag of a file, which is the name of its blob in the hub cache, says of it: 64 digits are a
/// SHA-256, 40 are git's SHA-1. Nothing for a text of another form.
std::optional<Checksum> checksum_of_etag(std::string_view etag);

/// What huggingface_hub notes of a file that it downloaded into a directory of the user's:
/// `.cache/huggingface/download/<path>.metadata`, three lines (huggingface_hub 0.36 and 2.4,
/// _local_folder.py).
struct DownloadMetadata {
  std::string commit;
  std::string etag;
  double seconds = 0;  ///< since 1970: when the file was as the etag says
};

/// The longest such file that is read.
inline constexpr uint64_t kMaxDownloadMetadataBytes = 4096;

/// Throws Error(invalid_metadata) for a text of another form.
DownloadMetadata parse_download_metadata(std::string_view text);

/// What a listing of a commit says of one file.
struct ListedFile {
  uint64_t bytes = 0;
  std::optional<Checksum> checksum;  ///< of the file, not of the LFS pointer that git has of it
};

/// Takes what a listing says of the file `path`, which is any text.
using ListedFileSink = std::function<void(std::string_view path, const ListedFile& file)>;

/// The longest listing that is read.
inline constexpr uint64_t kMaxTreeListingBytes = 100'000'000;

/// Reads the listing of a commit that huggingface_hub keeps (`trees/<commit>.json`, 2.4, _tree_cache.py) and
/// passes on its files, in its order; what was passed on counts only if nothing is thrown. Throws Error of
/// exit status 3: invalid_metadata for one of another form or version, invalid_json, duplicate_key, ….
void parse_tree_listing(std::string_view json, const ListedFileSink& sink);

/// The same of a file, with one copy of its text in memory. Throws Error(json_too_large) above
/// kMaxTreeListingBytes besides.
void read_tree_listing(const RegularFile& file, const ListedFileSink& sink);

}  // namespace hfload
