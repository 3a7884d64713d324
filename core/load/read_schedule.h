#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/load/backend.h"
#include "core/model/checkpoint.h"
#include "core/plan/load_plan.h"

namespace hfload {

/// The most that is read at once: larger reads gain nothing, smaller ones cost throughput.
inline constexpr uint64_t kChunkBytes = 4 << 20;
/// What is read into a buffer of its own, to be scattered or converted from there into the host's memory, is
/// read in windows that stay in a processor's L2 cache.
inline constexpr uint64_t kHostBufferBytes = 256 << 10;
/// Unwanted bytes between two wanted runs that are read along: fewer, larger reads are faster up to about
/// this size.
inline constexpr uint64_t kMaxGapBytes = 64 << 10;

/// Elements that are gathered are gathered in pieces of this size: the larger, the more of them lie together
/// in the file.
inline constexpr uint64_t kGatherBytes = 1 << 20;

/// The conversion from a dtype in a file to one in memory; `none` for equal ones.
/// Throws Error(unsupported_dtype) for a pair without one.
CastKind cast_between(Dtype file, Dtype memory);

/// The elements of a gathered tensor (see LoadPlan::gathers) that a chunk brings.
struct GatheredElements {
  uint32_t tensor = 0;      ///< into Checkpoint::tensors
  uint64_t first_byte = 0;  ///< of the contiguous tensor
};

/// One read: a range of a shard of which some or all bytes go to one arena; or a part of a gathered tensor.
struct ReadChunk {
  uint32_t shard = 0;
  uint32_t arena = 0;         ///< into LoadPlan::arenas
  uint64_t file_offset = 0;   ///< bytes from the start of the shard; gathered: of the tensor
  uint64_t file_bytes = 0;    ///< at most the chunk's bytes that the schedule was made with
  uint64_t first_upload = 0;  ///< into ReadSchedule::uploads
  uint32_t upload_count = 0;
  bool direct = false;  ///< the bytes go to the arena as they are, in one piece, without a buffer
  std::optional<GatheredElements> gathered = std::nullopt;
};

/// The reads of a plan: shard by shard, in each the copies in their order, then the gathered tensors. Where a
/// shard fills several devices by rings, the reads of its arenas take turns, each arena's own in their order,
/// so that all get their bytes at the same pace. Plain data.
struct ReadSchedule {
  std::vector<ReadChunk> chunks;
  std::vector<Upload> uploads;  ///< those of a chunk in file order; slot_offset counts from the chunk's start
};

/// How an arena is filled.
struct ArenaAccess {
  bool host = false;          ///< files can be read straight into it
  uint64_t buffer_bytes = 0;  ///< size of the buffers or slots that are scattered or converted from
  bool by_windows = false;    ///< a chunk may be larger than the buffer: it is read by windows of that size.
                              ///< Else each chunk is a slot of a ring
  uint64_t gather_bytes = kGatherBytes;  ///< most bytes that are gathered at once
};

/// Merges the plan's copies where they are neighbours in file and arena, and cuts them into chunks: large
/// unconverted runs for a host arena straight into it, everything else through buffers, many small tensors in
/// one read. Elements never straddle chunks; chunks that are converted by windows meet at multiples of
/// 2 MiB of the arena. `access` is parallel to the plan's arenas; `chunk_bytes` is the
/// most that is read at once. Throws Error(unsupported_dtype), and Error(internal) for a plan whose
/// placements leave their arenas.
ReadSchedule make_read_schedule(const LoadPlan& plan, const Checkpoint& checkpoint,
                                std::span<const ArenaAccess> access, uint64_t chunk_bytes = kChunkBytes);

}  // namespace hfload
