#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/text_pool.h"
#include "core/format/offload_index.h"
#include "core/load/loader.h"
#include "core/model/checkpoint.h"
#include "core/model/module_tree.h"
#include "core/plan/load_plan.h"

namespace hfload {

/// A tensor that a load leaves on the disk. Its names, and those of all tensors, are the plan's: there may be
/// 10^5 and more.
struct OffloadedTensor {
  uint32_t checkpoint = 0;   ///< into Checkpoint::tensors
  uint32_t first_name = 0;   ///< into OffloadPlan::names
  uint32_t name_count = 0;   ///< of all places of a tied tensor
  Dtype dtype = Dtype::f32;  ///< in memory
  /// accelerate cannot use it in place, as its dtype in memory is not the file's or the file is none of
  /// safetensors: it goes into the folder as `<name>.dat`, the raw elements in C order. One file for all
  /// names, with links, where the file system has them.
  bool is_written = false;
};

/// What a load leaves in an offload folder of accelerate's format; the checkpoint must outlive it: .dat
/// files, and entries that lead to their safetensors file for the tensors that are used in place.
struct OffloadPlan {
  std::string folder;
  std::vector<OffloadedTensor> tensors;  ///< by shard, then file offset
  /// The entries of index.json; those of one tensor stand together. A text is the checkpoint's, where it has
  /// the same name, or one of `texts`.
  std::vector<PooledText> names;
  std::shared_ptr<TextPool> texts = std::make_shared<TextPool>();
  std::vector<std::string> shard_paths;  ///< by shard, absolute; empty where no tensor of it is used in place
  uint64_t written_tensors = 0, in_place_tensors = 0;
  uint64_t source_bytes = 0;   ///< of the written tensors, as they are in their shards
  uint64_t written_bytes = 0;  ///< each once

  bool empty() const { return tensors.empty(); }
  /// The tensor of names[name].
  const OffloadedTensor& tensor_of(uint32_t name) const;
};

/// Plans what goes into `folder`. Nothing is on the disk: an empty plan. Throws Error(unsafe_path) for a
/// tensor's name that makes no safe file name.
OffloadPlan plan_offload(const LoadPlan& plan, const ModuleTree& tree, const Checkpoint& checkpoint,
                         const std::string& folder);

/// Looks at what is in the folder, so that what is wrong there is known before weights are read; changes
/// nothing. It need not exist, but its parent must. A file is replaced only where the folder's index.json
/// names it. Throws Error(file_exists), Error(not_found) for a parent that is not there, and Error(io_error,
/// not_a_file, invalid_offload_index, …) for a folder that cannot be used.
void require_usable_folder(const OffloadPlan& plan);

/// Bytes of a tensor as they are written; 0 for one without elements, whose file has one byte.
uint64_t written_bytes(const Checkpoint& checkpoint, const OffloadedTensor& tensor);

/// What index.json has of OffloadPlan::names[name].
OffloadEntry offload_entry(const OffloadPlan& plan, const Checkpoint& checkpoint, uint32_t name);

/// What becomes of an entry of a folder's index.json when those of a load are added.
enum class EntryFate : uint8_t {
  kept,
  superseded,  ///< by one of the load's, in the end
  replaced     ///< with its file, so that it is not true while that is done
};

/// What changes in a folder when the entries of a load are added.
struct IndexChange {
  uint64_t kept_entries = 0;
  bool replaces_files = false;
  std::vector<uint32_t> stale_names;  ///< into OffloadPlan::names: of files that no entry leads to afterwards
};

/// By the index as it is now, which another load may have changed since `plan` was made.
/// Throws as require_usable_folder.
IndexChange plan_index_change(const OffloadPlan& plan);

/// Passes on the entries of the folder's index.json, where there is one. Throws as plan_index_change.
void read_existing_index(const OffloadPlan& plan,
                         const std::function<void(const OffloadEntry& entry, EntryFate fate)>& sink);

/// Carries a plan out: writes on several threads (step_bytes for each, and what gathering takes) into
/// temporaries beside the final files, flushes them to the disk, renames them, and writes index.json last. At
/// no time does an index.json name a file that is not whole. While files are renamed the folder is locked
/// (flock, where the file system has it), so that several loads can write to one folder; the last one wins a
/// tensor that several have. On failure the temporaries are removed and the old index.json stands, less
/// entries whose files were to be replaced where that had begun. Throws Error(no_space, io_error),
/// Interrupted, and as execute and plan_index_change.
void write_offload_folder(const OffloadPlan& plan, const Checkpoint& checkpoint, const LoadOptions& options);

/// Compares every written tensor with its shard, cast again by the scalar reference; returns the bytes
/// compared. Throws Error(verify_failed) naming tensor and byte, and as execute.
uint64_t verify_offload_folder(const OffloadPlan& plan, const Checkpoint& checkpoint,
                               const LoadOptions& options);

/// The path of a tensor's .dat file.
std::string offloaded_file(const OffloadPlan& plan, std::string_view name);

}  // namespace hfload
