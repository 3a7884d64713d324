#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/compact_string.h"
#include "core/base/file.h"

namespace hfload {

/// Most bytes of a shard index; a mixture-of-experts model of 10^12 parameters has about 30 MB.
inline constexpr uint64_t kMaxShardIndexBytes = 256'000'000;

/// One entry of a weight map.
struct WeightMapEntry {
  CompactString tensor;
  uint32_t shard = 0;  ///< into ShardIndex::shards
};

/// A checked `model.safetensors.index.json` (or `pytorch_model.bin.index.json`).
struct ShardIndex {
  std::vector<std::string> shards;           ///< relative paths of plain components, sorted, each once
  std::vector<WeightMapEntry> weight_map;    ///< in file order
  std::optional<uint64_t> total_size_bytes;  ///< metadata.total_size; advisory
  std::optional<std::string> dtype;          ///< metadata.dtype, torch's name
  std::vector<std::string> notes;            ///< accepted oddities, one sentence each
};

/// Parses and checks an index. Every shard path stays below the directory: it is relative, without "..",
/// backslashes, a drive and NUL. "./x" and "a//b" are "x" and "a/b". Pure. Throws Error of exit status 3
/// (unsafe_path, duplicate_key, invalid_index, lfs_pointer, …).
ShardIndex parse_shard_index(std::string_view json);

/// Reads and parses an index, with one copy of its text in memory. Errors carry the file's path. Throws
/// Error(json_too_large) above kMaxShardIndexBytes besides.
ShardIndex read_shard_index(const RegularFile& file);

}  // namespace hfload
