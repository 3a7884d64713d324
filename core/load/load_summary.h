#pragma once

#include <cstdint>
#include <vector>

#include "core/load/loader.h"
#include "core/model/checkpoint.h"
#include "core/plan/load_plan.h"

namespace hfload {

/// What a plan puts on one device. Bytes are those in memory unless they stay in a file.
struct DeviceSummary {
  Device device;
  uint64_t arena_bytes = 0;      ///< allocated, padding between tensors counted; 0: no arena
  uint64_t tensors = 0;          ///< in the arena
  uint64_t tensor_bytes = 0;     ///< of those, padding not counted
  uint64_t in_file_tensors = 0;  ///< stay in their shards: on the disk, or mapped
  uint64_t in_file_bytes = 0;
};

/// By device, in device order, the disk last where something is on it. A tied tensor counts once.
std::vector<DeviceSummary> summarize_devices(const LoadPlan& plan);

/// What a load reads of one shard.
struct ShardSummary {
  uint32_t shard = 0;
  uint64_t tensors = 0;     ///< that are read
  uint64_t reads = 0;       ///< of a gathered tensor: pieces of the contiguous tensor
  uint64_t read_bytes = 0;  ///< gaps between tensors that are read along included
};

/// What a load does besides filling its arenas.
struct ReadSummary {
  std::vector<ShardSummary> shards;  ///< those that are read, in the order of the plan
  unsigned threads = 0;
  uint64_t staging_bytes = 0;  ///< most memory that the host needs beside the arenas
};

/// The staging ring of each GPU of a plan.
RingSize ring_of(const LoadPlan& plan, bool emulate_gpus);

/// Which devices a load fills through a staging ring, and how.
struct StagingOptions {
  bool emulate_gpus = false;
  bool gds = false;  ///< GPUs read large tensors from the file themselves
};

/// What execute would read, found without allocating an arena or reading weights; the first shard is opened
/// to see where it lies. Throws Error(unsupported_dtype, shard_missing, changed_during_read, io_error).
ReadSummary summarize_reads(const LoadPlan& plan, const Checkpoint& checkpoint, const LoadOptions& options,
                            const StagingOptions& staging);

/// How many threads read a plan's shards, and how much at once.
struct ReadSettings {
  unsigned threads = 0;
  uint64_t chunk_bytes = 0;
  /// What one thread reads at once of what is scattered or converted into the host's memory.
  uint64_t window_bytes = 0;
  uint64_t direct_bytes = 0;  ///< for the direct reads of all threads together
  bool is_remote = false;     ///< on a network file system, which has no direct reads
};

/// By the options, and by where the first shard that the plan reads lies; the others are taken to be there
/// too. Throws Error(shard_missing, changed_during_read, io_error).
ReadSettings read_settings(const LoadPlan& plan, const Checkpoint& checkpoint, const LoadOptions& options);

}  // namespace hfload
