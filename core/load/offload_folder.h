#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/format/offload_index.h"
#include "core/load/loader.h"
#include "core/model/checkpoint.h"
#include "core/model/module_tree.h"
#include "core/plan/load_plan.h"
#include "kernels/cast.h"

namespace hfload {

/// A tensor on the disk that accelerate cannot use in place, as its dtype in memory is not the file's or the
/// file is none of safetensors: it goes into the offload folder as `<name>.dat`, the raw elements in C order.
struct WrittenTensor {
  uint32_t checkpoint = 0;  ///< into Checkpoint::tensors
  CastKind cast = CastKind::none;
  uint64_t bytes = 0;              ///< written; 0 for a tensor without elements, whose file has one byte
  std::vector<std::string> names;  ///< of all places of a tied tensor: one file, several names
};

/// What a load leaves in an offload folder of accelerate's format: .dat files, and entries that lead to their
/// safetensors file for the tensors that are used in place.
struct OffloadPlan {
  std::string folder;
  std::vector<WrittenTensor> written;  ///< by shard, then file offset
  std::vector<OffloadEntry> entries;   ///< of these tensors
  uint64_t in_place_tensors = 0;
  uint64_t source_bytes = 0;   ///< of the written tensors, as they are in their shards
  uint64_t written_bytes = 0;  ///< each once
};

/// Plans what goes into `folder`, which need not exist, but whose parent must, and looks at what is there;
/// changes nothing. A file is replaced only where the folder's index.json names it. Nothing is on the disk:
/// an empty plan. Throws Error(unsafe_path) for a tensor's name that makes no safe file name,
/// Error(file_exists), Error(not_found) for a parent that is not there, and Error(io_error, not_a_file,
/// invalid_offload_index, …) for a folder that cannot be used.
OffloadPlan plan_offload(const LoadPlan& plan, const ModuleTree& tree, const Checkpoint& checkpoint,
                         const std::string& folder);

/// What becomes of a folder's index.json when the entries of a load are added.
struct IndexChange {
  std::vector<OffloadEntry> entries;  ///< afterwards: those of the load, and those of other tensors
  /// While files that the index names are replaced: the entries that stay true. Equal to what is there where
  /// no file is replaced.
  std::vector<OffloadEntry> interim_entries;
  bool replaces_files = false;
  std::vector<std::string> stale_files;  ///< paths: .dat files that no entry names afterwards
};

/// By the index as it is now, which another load may have changed since `plan` was made.
/// Throws Error(file_exists, io_error, invalid_offload_index, …), as plan_offload.
IndexChange plan_index_change(const OffloadPlan& plan);

/// Carries a plan out: writes on several threads (step_bytes for each, and what gathering takes) into
/// temporaries beside the final files, flushes them to the disk, renames them, and writes index.json last. At
/// no time does an index.json name a file that is not whole. While files are renamed the folder is locked
/// (flock, where the file system has it), so that several loads can write to one folder; the last one wins a
/// tensor that several have. On failure the temporaries are removed and the old index.json stands, less
/// entries whose files were to be replaced where that had begun. Throws Error(io_error), Interrupted, and as
/// execute and plan_index_change.
void write_offload_folder(const OffloadPlan& plan, const Checkpoint& checkpoint, const LoadOptions& options);

/// Compares every written tensor with its shard, cast again by the scalar reference; returns the bytes
/// compared. Throws Error(verify_failed) naming tensor and byte, and as execute.
uint64_t verify_offload_folder(const OffloadPlan& plan, const Checkpoint& checkpoint,
                               const LoadOptions& options);

/// The path of a tensor's .dat file.
std::string offloaded_file(const OffloadPlan& plan, const std::string& name);

}  // namespace hfload
