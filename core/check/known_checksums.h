#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/format/hub_records.h"
#include "core/model/checkpoint.h"

namespace hfload {

/// What says what a file is to hash to.
enum class ChecksumSource : uint8_t {
  blob_name,         ///< the name of the hub cache's blob that the file is, or links to
  tree_listing,      ///< trees/<commit>.json of the hub cache or of a download
  download_metadata  ///< .cache/huggingface/download/<file>.metadata
};

/// "blob_name", as the JSON has it.
std::string_view name_of(ChecksumSource source);

/// A file of a checkpoint, and what its bytes are to hash to.
struct KnownChecksum {
  std::string file;               ///< relative to the model directory
  std::string path;               ///< as it is opened
  std::optional<uint32_t> shard;  ///< where the file is one of the checkpoint's
  Checksum checksum;
  ChecksumSource source = ChecksumSource::blob_name;
  std::optional<uint64_t> bytes;  ///< its size, where that is recorded too
  /// The file was written to after its checksum was recorded. As huggingface_hub has it, by more than a
  /// second.
  bool is_outdated = false;
};

struct KnownChecksums {
  std::vector<KnownChecksum> known;   ///< weight files first, then index, config.json and other files
  std::vector<std::string> without;   ///< weight files, index and config.json of which nothing is recorded
  std::vector<std::string> warnings;  ///< records that cannot be read
};

/// Finds what huggingface_hub has recorded beside a model, for the weight files that are there, the index,
/// config.json, and the other files up to 64 MiB that a conversion would copy (docs/verify.md). Reads no
/// weights. A file has two entries where two sources contradict each other. Of a directory that was not
/// downloaded there are none. Throws Error(io_error).
KnownChecksums find_known_checksums(const Checkpoint& checkpoint);

}  // namespace hfload
