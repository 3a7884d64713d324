#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/file.h"
#include "core/format/dtype.h"
#include "core/format/model_config.h"

namespace hfload {

/// Where a model is: paths, none of which need exist but the first that applies.
struct ModelLocation {
  /// The model directory, below which shards are looked up.
  std::string directory;
  /// Symbolic links may lead anywhere below this directory: `models--org--name` in the hub cache, else the
  /// same as `directory`. Empty for a file that the user named, whose links are trusted.
  std::string trust_root;
  /// Empty when there is none.
  std::string config_path;
  /// A weight file or a shard index; empty for an empty shell.
  std::string weights_path;
  /// Names that another `--variant` would find, for error messages.
  std::string variants_hint;
};

/// The parts of the environment that say where the hub cache is, read by `cli` and passed in.
struct HubCacheSettings {
  std::string hub_cache;  ///< the directory that holds `models--org--name`
};

struct LocateOptions {
  std::string variant = {};    ///< "fp16": model.fp16.safetensors
  std::string subfolder = {};  ///< below the model directory
  HubCacheSettings cache = {};
};

/// Finds the model that MODEL stands for: a directory, a `.safetensors` file, an index file, a config.json,
/// or `org/name[@revision]` in the local hub cache. An existing path wins. Weights are looked for in the
/// order of transformers' `from_pretrained` (docs/formats.md). Throws Error(not_found, unsafe_path).
ModelLocation locate_model(const std::string& model, const LocateOptions& options);

enum class ShardFormat : uint8_t { safetensors, pytorch, other };

/// One weight file of a checkpoint.
struct Shard {
  std::string file;  ///< as the weight map names it, relative to the model directory
  ShardFormat format = ShardFormat::safetensors;
  bool present = false;
  uint64_t file_bytes = 0;
  uint64_t data_start = 0;  ///< bytes from the start of the file to the data section
  uint64_t tensor_count = 0;
  std::vector<std::pair<std::string, std::string>> metadata;
};

/// One tensor of a checkpoint.
struct CheckpointTensor {
  std::string name;
  uint32_t shard = 0;
  bool described =
      false;  ///< false: only the index names it, as its shard is absent or not readable by this version
  Dtype dtype = Dtype::unknown;
  std::string dtype_name;
  std::vector<uint64_t> shape;
  uint64_t begin = 0, end = 0;  ///< data_offsets: bytes from the start of the shard's data section

  uint64_t bytes() const { return end - begin; }
};

/// A model directory, opened and cross-checked once; nothing downstream checks again.
struct Checkpoint {
  ModelLocation location;
  bool has_config = false;
  ModelConfig config;
  std::vector<Shard> shards;              ///< sorted by file name
  std::vector<CheckpointTensor> tensors;  ///< by shard, then in data order (index order where not described)
  std::optional<uint64_t> index_total_size_bytes;  ///< metadata.total_size of the index
  std::optional<std::string> index_dtype;          ///< metadata.dtype of the index
  std::vector<std::string> warnings;

  /// Bytes of all described tensors.
  uint64_t described_bytes() const;
  /// True when every tensor is described.
  bool complete() const;
  /// The first shard that does not exist; null when all do.
  const Shard* first_missing_shard() const;
};

/// Opens config, index and the headers of all shards that exist. An absent shard is a state, not an error.
/// Throws Error of exit status 3 for anything malformed: a header, a tensor missing from its shard, a hostile
/// path.
Checkpoint open_checkpoint(const ModelLocation& location);

/// Opens one shard for reading, again below the location's trust root. Throws Error(shard_missing) besides.
RegularFile open_shard(const Checkpoint& checkpoint, uint32_t shard);

/// Opens a shard and checks that it has the size it had when its header was read.
/// Throws Error(shard_missing, changed_during_read, …).
RegularFile reopen_shard(const Checkpoint& checkpoint, uint32_t shard);

}  // namespace hfload
