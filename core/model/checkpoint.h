#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/boxed.h"
#include "core/base/compact_string.h"
#include "core/base/file.h"
#include "core/format/dtype.h"
#include "core/format/model_config.h"
#include "core/format/shape.h"
#include "core/format/tensor_reader.h"
#include "core/model/finding.h"

namespace hfload {

/// Where a model is: paths, none of which need exist but the first that applies.
struct ModelLocation {
  /// The model directory, below which shards are looked up.
  std::string directory;
  /// The folders that the model's files belong to: `models--org--name` and the store that all repositories
  /// share in the hub cache, else the directory. Links are followed wherever they lead; one that leaves these
  /// is worth a note, and is no reason to copy another's file.
  std::vector<std::string> own_folders;
  /// Empty when there is none.
  std::string config_path;
  /// A weight file or a shard index; empty for an empty shell.
  std::string weights_path;
  /// The shards, below `directory`, where no index lists them; `weights_path` is the first.
  std::vector<std::string> unindexed_shards = {};
  bool is_config = false;  ///< MODEL is a config.json alone
  bool is_file = false;    ///< MODEL is the weight file itself, and not a directory that holds it
  std::vector<std::string> notes = {};  ///< what is odd about the directory, one sentence each
  std::optional<Error> obstacle = {};   ///< why weights that are there are not loaded (explain_folder)
  /// Names that another `--variant` would find, for error messages.
  std::string variants_hint;
  /// The dict inside a PyTorch checkpoint that holds the tensors; empty: the one that is found
  /// (docs/formats.md).
  std::string state_dict_key = {};
  /// Where temporary files are made.
  std::string temporary_directory = "/tmp";
};

/// The parts of the environment that say where the hub cache is, read by `cli` and passed in.
struct HubCacheSettings {
  std::string hub_cache;  ///< the directory that holds `models--org--name`
};

struct LocateOptions {
  std::string variant = {};    ///< "fp16": model.fp16.safetensors
  std::string subfolder = {};  ///< below the model directory
  std::string key = {};        ///< becomes ModelLocation::state_dict_key
  HubCacheSettings cache = {};
  std::string temporary_directory = "/tmp";
};

/// Finds the model that MODEL stands for: a directory, a `.safetensors` file, an index file, a config.json,
/// or `org/name[@revision]` in the local hub cache. An existing path wins. Weights are looked for in the
/// order of transformers' `from_pretrained` (docs/formats.md). Throws Error(not_found, unsafe_path).
ModelLocation locate_model(const std::string& model, const LocateOptions& options);

/// "org/name" of a model in the hub cache; empty elsewhere.
std::string repository_name(const ModelLocation& location);

enum class ShardFormat : uint8_t { safetensors, pytorch, other };

/// One weight file of a checkpoint.
struct Shard {
  std::string file;  ///< as the weight map names it, relative to the model directory
  ShardFormat format = ShardFormat::safetensors;
  bool present = false;
  bool damaged = false;  ///< its header could not be read; only open_damaged_checkpoint gives such shards
  FileIdentity
      identity;  ///< of the file when it was opened to read its header; zeros where it is not present
  uint64_t data_start = 0;  ///< bytes from the start of the file to the data section
  uint64_t tensor_count = 0;
  std::vector<std::pair<std::string, std::string>> metadata;
  /// Of a PyTorch archive with deflated members: a temporary file with the same members, stored, from which
  /// all is read that is read from the shard. `identity` and offsets are its own.
  std::shared_ptr<const RegularFile> unpacked = nullptr;

  /// Whether hfload reads tensors of this format.
  bool is_read() const { return format != ShardFormat::other; }
};

/// How a PyTorch checkpoint stores a tensor: as a view of a storage. 40 bytes, as there may be 100,000.
struct StorageView {
  static constexpr uint32_t kNotTied = UINT32_MAX;

  uint64_t storage_begin = 0, storage_end = 0;  ///< bytes from the start of the file
  /// In elements, one for each dimension; none where the elements lie one after the other, in row-major
  /// order.
  Boxed<Shape> strides = {};
  std::optional<uint32_t> storage_crc = {};  ///< CRC-32 of the storage, where the file has one; not checked
  /// The first tensor that has the same elements of the same storage, into Checkpoint::tensors: the two are
  /// tied.
  uint32_t same_as = kNotTied;
  uint8_t element_bytes = 1;
  uint8_t swap_bytes = 1;  ///< groups of so many bytes are big-endian; 1: none
  Negation negation = Negation::none;
};

/// One tensor of a checkpoint.
struct CheckpointTensor {
  CompactString name;
  uint32_t shard = 0;
  bool described =
      false;  ///< false: only the index names it, as its shard is absent or not readable by this version
  bool unindexed = false;   ///< a shard of an index holds it, and the index does not name it
  bool unreadable = false;  ///< of a PyTorch checkpoint: sparse, quantised, nested or on the meta device.
                            ///< other_dtype says which, and there are no bytes
  Dtype dtype = Dtype::unknown;
  Boxed<std::string> other_dtype = {};  ///< the name of a dtype that is unknown, as the header gives it
  Shape shape = {};
  /// data_offsets: bytes from the start of the shard's data section. Where the tensor is not stored in place,
  /// `end` is what it would be if it were.
  uint64_t begin = 0, end = 0;
  Boxed<StorageView> view = {};  ///< of a PyTorch checkpoint

  uint64_t bytes() const { return end - begin; }
  /// "BF16", as a safetensors header has it; empty where nothing says.
  std::string_view dtype_name() const {
    if (other_dtype) return *other_dtype;
    return dtype == Dtype::unknown ? std::string_view() : dtype_info(dtype).safetensors_name;
  }
  /// Bytes of an element in the file; of a dtype of whole bytes.
  uint32_t element_bytes() const { return view ? view->element_bytes : dtype_info(dtype).bits / 8; }
  /// Its bytes in the file are those of the contiguous little-endian tensor.
  bool is_in_place() const {
    return !view || (!view->strides && view->swap_bytes == 1 && view->negation == Negation::none);
  }
  bool repeats_another() const { return view && view->same_as != StorageView::kNotTied; }
  /// Of the tensors that are tied to this one, which has the number `own`, the first; `own` where none is.
  uint32_t first_tied(uint32_t own) const { return repeats_another() ? view->same_as : own; }
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

  /// What makes loading it slow: one sentence for each shard with tensors that are not in place.
  std::vector<std::string> load_warnings() const;
  /// Bytes of all described tensors, tied ones once.
  uint64_t described_bytes() const;
  /// True when every tensor is described.
  bool complete() const;
  /// The first shard that does not exist; null when all do.
  const Shard* first_missing_shard() const;
};

/// Opens config, index and the headers of all shards that exist. An absent shard is a state, not an error,
/// and where index and headers disagree, the headers hold (compare_with_index). Throws Error of exit status 3
/// for anything malformed: a header, a pickle, a hostile path.
Checkpoint open_checkpoint(const ModelLocation& location);

/// As open_checkpoint, but goes on where it would throw for a shard: each such fault becomes a finding, and
/// the tensors of a damaged or absent shard are not described. What compare_with_index says, and shards of a
/// format that is not read, are findings too. Throws for a malformed config or index,
/// what reading throws, and Error of exit status 4 for a checkpoint of one file.
Checkpoint open_damaged_checkpoint(const ModelLocation& location, std::vector<Finding>& findings);

/// What to throw for a tensor that is to be read and is unreadable: Error(unsupported_format).
Error unreadable_tensor(const Checkpoint& checkpoint, const CheckpointTensor& tensor);

/// Throws unreadable_tensor for the first tensor that is unreadable.
void require_readable_tensors(const Checkpoint& checkpoint);

/// Where the elements of a described tensor lie in its shard, for read_tensor_elements. Its dtype has whole
/// bytes.
StridedTensor stored_elements(const Checkpoint& checkpoint, const CheckpointTensor& tensor);

/// Opens the file of one shard as it lies on the disk. Throws Error(shard_missing) besides.
RegularFile open_shard_file(const Checkpoint& checkpoint, uint32_t shard);

/// The same, or the shard's unpacked file where it has one.
RegularFile open_shard(const Checkpoint& checkpoint, uint32_t shard);

/// Opens a shard and checks that it is the file whose header was read, neither replaced nor written to since
/// (is_same_state). Throws Error(shard_missing, changed_during_read, …).
RegularFile reopen_shard(const Checkpoint& checkpoint, uint32_t shard);

}  // namespace hfload
