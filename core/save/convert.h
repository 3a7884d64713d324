#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/model/checkpoint.h"
#include "core/model/module_tree.h"
#include "core/save/file_layout.h"
#include "core/save/shard_split.h"
#include "core/save/tensor_source.h"
#include "kernels/cast.h"

namespace hfload {

enum class WeightFormat : uint8_t { safetensors, pytorch };
enum class TiedPolicy : uint8_t { drop, duplicate };

/// What a conversion changes.
struct ConvertOptions {
  std::optional<Dtype> dtype;  ///< of float32, float16 and bfloat16 tensors; nothing: each keeps its own
  /// By glob over the source's names, the last that matches wins; no dtype: keep.
  std::vector<std::pair<std::string, std::optional<Dtype>>> dtype_for;
  uint64_t max_shard_bytes = kDefaultMaxShardBytes;
  bool merge = false;                ///< one file, whatever its size
  std::vector<std::string> include;  ///< globs; empty: all tensors
  std::vector<std::string> exclude;  ///< globs
  std::vector<std::pair<std::string, std::string>>
      renames;  ///< ECMAScript expression, replacement with $1, $&
  TiedPolicy tied = TiedPolicy::drop;
  WeightFormat format = WeightFormat::safetensors;
};

/// A weight file of the output.
struct PlannedFile {
  std::string name;
  FileLayout layout;  ///< its tensors are those of ConvertPlan::tensors
};

/// A file of the model that is no weights, copied as it is.
struct CopiedFile {
  std::string name;  ///< relative to the model directory
  std::string path;
  uint64_t bytes = 0;
};

/// A file that is no weights and that the conversion makes.
struct TextFile {
  std::string name;
  uint64_t bytes = 0;
  std::string text = {};  ///< of config.json; the index is written from the plan
  bool is_index = false;
};

/// A conversion before it is carried out: plain data. What it was made of must outlive it.
struct ConvertPlan {
  std::string destination;
  bool single_file = false;  ///< the destination is one weight file; else a directory
  WeightFormat format = WeightFormat::safetensors;
  std::vector<OutputTensor> tensors;                          ///< in the order of the state dict
  std::vector<std::unique_ptr<const std::string>> new_names;  ///< that `tensors` has and the source has not
  std::vector<uint32_t> sources;  ///< of each tensor: index into TensorSource::tensors
  std::vector<CastKind> casts;    ///< of each tensor
  std::vector<PlannedFile> files;
  ShardSplit split;                          ///< what tensors the files hold
  std::optional<uint64_t> total_parameters;  ///< for the index
  std::vector<TextFile> texts;               ///< the index, config.json
  std::vector<CopiedFile> copies;            ///< tokenizer, generation config, …
  std::string entry_point;  ///< the file that readers look for: the index, or the only weight file
  std::vector<std::string> source_files;  ///< paths of what it was made of: shards, index, config.json
  uint64_t tensor_bytes = 0;              ///< of all tensors as written
  uint64_t output_bytes = 0;              ///< of all files
  uint64_t converted_tensors = 0;         ///< whose dtype changes
  std::vector<std::string> dropped;       ///< names of saved duplicates of tied parameters
  std::vector<std::string> duplicated;    ///< names of tied parameters that were added
  std::vector<std::string> warnings;
};

/// Refuses a destination that is the input or lies in it, by the identity of directories and files and not by
/// their names; nothing of the input needs to have been read. Throws Error(destination_is_input).
void require_apart(const ModelLocation& location, const std::string& destination, WeightFormat format);

/// Refuses a DST that would be a directory under the name of a weight file: "model.gguf", or "model.bin" for
/// safetensors. A directory that exists, and a name with a slash at its end, may be called so. Throws
/// Error(usage).
void require_destination_name(const std::string& destination, WeightFormat format);

/// Plans the conversion of a checkpoint. `tree` is the model's shell, where it is known: it gives the order
/// of the state dict, which decides the shards, and the tied parameters, and is gone before the plan is made.
/// Reads weights only to compare saved duplicates of tied parameters. A DST that ends in .safetensors (.bin,
/// .pt or .pth for PyTorch) is one file, unless it is a directory already; any other is a directory. Throws
/// Error(destination_is_input, name_collision, empty_subset, unsupported_dtype, …).
ConvertPlan plan_conversion(const Checkpoint& checkpoint, const TensorSource& source,
                            std::unique_ptr<const ModuleTree> tree, const std::string& destination,
                            const ConvertOptions& options);

/// Writes the text of one of the plan's texts.
void write_text(const ConvertPlan& plan, const TextFile& file, const TextSink& sink);

struct ConvertProgress {
  uint64_t done_bytes = 0;  ///< of tensors as written
  uint64_t total_bytes = 0;
  double seconds = 0;
};

struct ConvertRun {
  bool force = false;    ///< replace what is at the destination
  unsigned threads = 0;  ///< 0: one per processor, at most 16
  /// Called from one thread at a time, a few times a second, and at the end. May be empty.
  std::function<void(const ConvertProgress&)> progress = nullptr;
  /// Looked at between pieces, from several threads; when it returns true, Interrupted is thrown. May be
  /// empty.
  std::function<bool()> interrupted = nullptr;
};

/// The threads that a run takes.
unsigned threads_of_run(const ConvertRun& run);

/// What executing a plan finds at its destination.
struct DestinationState {
  bool is_complete = false;  ///< this output already: nothing is left to do
  bool is_outdated = false;  ///< this output of an earlier state of the source, which is replaced
  bool replaces = false;     ///< that, or something that force lets it replace
};

/// What executing the plan would find, changing nothing; what an interrupted run left there counts as it
/// lies. Reads weights where an output of this form is there, to compare them. Throws as `execute`:
/// Error(destination_exists, no_space), Interrupted.
DestinationState check_destination(const ConvertPlan& plan, const TensorSource& source,
                                   const ConvertRun& run);

struct ConvertOutcome {
  bool skipped = false;   ///< the destination held this output already
  bool outdated = false;  ///< it held this output of an earlier state of the source
  double seconds = 0;
  unsigned threads = 0;
};

/// Carries out a plan by the write protocol of docs/convert.md: afterwards the destination holds either the
/// whole output, flushed to the disk, or what it held before. An output that is there already, as a finished
/// conversion of this plan leaves it, is left alone; one of an earlier state of the source is replaced.
/// Memory besides the plan: 1.5 MiB a thread, 2.5 MiB while an output is compared, whatever the sizes of
/// tensors. The files are the same for any number of threads. Throws Error(destination_exists,
/// destination_busy, no_space, io_error, changed_during_read), Interrupted.
ConvertOutcome execute(const ConvertPlan& plan, const TensorSource& source, const ConvertRun& run);

/// The conversion from one dtype to another; nothing where there is none. Equal dtypes give CastKind::none.
std::optional<CastKind> conversion_between(Dtype from, Dtype to);

/// Bytes of the disk at `path`, or where it would be, that are free for this user.
uint64_t free_bytes_at(const std::string& path);

}  // namespace hfload
