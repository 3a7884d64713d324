#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/file.h"
#include "core/base/interrupted.h"
#include "core/load/backend.h"
#include "core/load/gds.h"
#include "core/load/shard_reader.h"
#include "core/model/checkpoint.h"
#include "core/model/module_tree.h"
#include "core/plan/load_plan.h"

namespace hfload {

struct LoadProgress {
  uint64_t done_bytes = 0;  ///< wanted bytes read from files so far
  uint64_t total_bytes = 0;
  double seconds = 0;  ///< since reading began
};

struct LoadOptions {
  unsigned threads = 0;  ///< readers; 0: one per processor, at most 16; at least 8 for a network file system
  ReadPath read_path = ReadPath::automatic;
  /// Called from one thread at a time, a few times a second, and at the end. May be empty.
  std::function<void(const LoadProgress&)> progress = nullptr;
  /// Looked at between chunks, from several threads at once; when it returns true, the load stops and execute
  /// throws Interrupted. May be empty.
  std::function<bool()> interrupted = nullptr;
};

struct LoadStatistics {
  uint64_t loaded_bytes = 0;  ///< now in the arenas, padding not counted
  uint64_t read_bytes = 0;    ///< read from files, gaps between tensors that were read along included
  ReadStatistics reads;
  uint64_t offloaded_bytes = 0;   ///< on the disk, mapped in place
  uint64_t mapped_bytes = 0;      ///< on the CPU, mapped in place
  uint64_t small_page_bytes = 0;  ///< of the arenas, where huge pages cost more than small ones
  double seconds = 0;             ///< from the first allocation to the last copy
  unsigned threads = 0;
  std::optional<unsigned> numa_node;          ///< on whose CPUs the readers ran; nothing: on any
  std::optional<GdsLibrary::Statistics> gds;  ///< nothing: no backend has GPUDirect Storage
};

/// A model whose every tensor is on its device. Owns the arenas and, for what is offloaded to disk, the
/// mappings.
struct LoadedModel {
  LoadPlan plan;                                   ///< without its copies
  std::vector<std::unique_ptr<Backend>> backends;  ///< parallel to plan.arenas
  std::vector<MappedFile> mappings;  ///< by shard; empty where nothing of the shard stays in its file
  LoadStatistics statistics;
};

/// Makes the backend of a device; execute asks it for the arena.
using BackendFactory = std::function<std::unique_ptr<Backend>(Device device)>;

/// Carries out a plan: allocates each arena once, reads the shards in file order in chunks of at most 4 MiB
/// (16 MiB on a network file system) on several threads, casts on the way. Peak memory is the arenas plus a
/// fixed staging: for readers and direct reads what buffer_bytes says, 11 MiB where tensors are gathered,
/// 4 MiB for each emulated GPU, the pinned rings of CUDA devices (see cuda_ring). Throws Error(out_of_memory,
/// changed_during_read, io_error, cuda_error, shard_missing), Interrupted; then everything is released.
LoadedModel execute(LoadPlan plan, const Checkpoint& checkpoint, const BackendFactory& make_backend,
                    const LoadOptions& options);

/// The checksum of a tensor as it is in memory; see kernels/hash.h.
struct TensorHash {
  TensorId tensor = kNoId;
  uint64_t hash = 0;
};

struct Verification {
  uint64_t compared_bytes = 0;     ///< as they are in memory
  std::vector<TensorHash> hashes;  ///< of the placements, in their order
};

/// Computes the checksum of every tensor where it is, and that of the file's bytes, cast again by the scalar
/// reference where the dtype changed; what stays in its file is read through its mapping. Then compares the
/// CRC-32 that a zip archive has of the storages of those tensors. Throws Error(verify_failed) naming the
/// first tensor (as the file names it) and byte that differ, Error(invalid_zip) for a wrong CRC-32, and as
/// execute.
Verification verify(const LoadedModel& model, const Checkpoint& checkpoint, const LoadOptions& options);

}  // namespace hfload
