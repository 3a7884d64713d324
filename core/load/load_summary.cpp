#include "core/load/load_summary.h"

#include <algorithm>
#include <map>
#include <span>

#include "core/load/buffer_bytes.h"
#include "core/load/gather.h"
#include "core/load/parallel_reads.h"
#include "core/load/read_schedule.h"
#include "core/load/shard_reader.h"

namespace hfload {
namespace {

/// Whether the first shard that the plan reads is far away.
bool reads_over_network(const LoadPlan& plan, const Checkpoint& checkpoint) {
  if (plan.copies.empty() && plan.gathers.empty()) return false;
  const uint32_t shard =
      plan.copies.empty() ? checkpoint.tensors.at(plan.placements.at(plan.gathers.front()).checkpoint).shard
                          : plan.copies.front().shard;
  return is_on_network_file_system(reopen_shard(checkpoint, shard));
}

uint64_t gpus_of(const LoadPlan& plan) {
  return static_cast<uint64_t>(
      std::ranges::count_if(plan.arenas, [](const Arena& arena) { return arena.device.is_gpu(); }));
}

std::vector<ArenaAccess> planned_access(const LoadPlan& plan, const StagingOptions& staging) {
  const uint64_t slot_bytes = ring_of(plan, staging.emulate_gpus).slot_bytes;
  std::vector<ArenaAccess> access;
  for (const Arena& arena : plan.arenas) {
    access.push_back(arena.device.is_gpu()
                         ? ArenaAccess{.host = staging.gds,
                                       .buffer_bytes = slot_bytes,
                                       .gather_bytes = std::min(kGatherBytes, slot_bytes)}
                         : ArenaAccess{.host = true, .buffer_bytes = kHostBufferBytes, .by_windows = true});
  }
  return access;
}

uint64_t staging_bytes(const LoadPlan& plan, const LoadOptions& options, const ReadSettings& settings,
                       const StagingOptions& staging) {
  const bool may_be_direct = options.read_path == ReadPath::direct ||
                             (options.read_path == ReadPath::automatic && !settings.is_remote);
  const RingSize ring = ring_of(plan, staging.emulate_gpus);
  uint64_t bytes = gpus_of(plan) * ring.slots * ring.slot_bytes;
  if (!plan.gathers.empty()) bytes += GatherTurns::kMostBytes;
  if (plan.copies.empty()) return bytes;
  return bytes + settings.threads * settings.window_bytes + (may_be_direct ? settings.direct_bytes : 0);
}

/// Where bytes are scattered or converted on the host, they are read by windows.
uint64_t reads_of(const ReadChunk& chunk, const ReadSchedule& schedule, const ArenaAccess& access,
                  uint64_t window_bytes) {
  if (chunk.direct || chunk.gathered) return 1;
  const auto uploads = std::span(schedule.uploads).subspan(chunk.first_upload, chunk.upload_count);
  const auto narrows = [](const Upload& upload) {
    return cast_target_bytes(upload.cast) < cast_source_bytes(upload.cast);
  };
  if (!access.by_windows && std::ranges::none_of(uploads, narrows)) return 1;
  return (chunk.file_bytes + window_bytes - 1) / window_bytes;
}

}  // namespace

RingSize ring_of(const LoadPlan& plan, bool emulate_gpus) {
  return emulate_gpus ? kEmulatedGpuRing : cuda_ring(gpus_of(plan));
}

std::vector<DeviceSummary> summarize_devices(const LoadPlan& plan) {
  std::map<Device, DeviceSummary> by_device;
  for (const Arena& arena : plan.arenas) by_device[arena.device].arena_bytes = arena.bytes;
  for (const TensorPlacement& placement : plan.placements) {
    DeviceSummary& summary = by_device[placement.device];
    ++(placement.in_file ? summary.in_file_tensors : summary.tensors);
    (placement.in_file ? summary.in_file_bytes : summary.tensor_bytes) += placement.bytes;
  }
  std::vector<DeviceSummary> devices;
  for (auto& [device, summary] : by_device) {
    summary.device = device;
    devices.push_back(summary);
  }
  return devices;
}

ReadSettings read_settings(const LoadPlan& plan, const Checkpoint& checkpoint, const LoadOptions& options) {
  // A server answers many large questions at once better than a few small ones.
  constexpr unsigned kNetworkThreads = 8;
  constexpr uint64_t kNetworkChunkBytes = 16 << 20;
  const uint64_t tensors = checkpoint.tensors.size();
  const unsigned threads = reader_threads(options);
  if (!reads_over_network(plan, checkpoint)) {
    return {.threads = threads,
            .chunk_bytes = kChunkBytes,
            .window_bytes = window_bytes(tensors, threads),
            .direct_bytes = direct_buffer_bytes(tensors, threads)};
  }
  const unsigned remote_threads = options.threads == 0 ? std::max(threads, kNetworkThreads) : threads;
  const uint64_t small_window_bytes = window_bytes(tensors, remote_threads);
  const uint64_t direct_bytes = direct_buffer_bytes(tensors, remote_threads);
  // Direct reads have large buffers of their own.
  const bool is_direct = options.read_path == ReadPath::direct;
  return {.threads = remote_threads,
          .chunk_bytes = kNetworkChunkBytes,
          .window_bytes = is_direct
                              ? small_window_bytes
                              : std::max(direct_bytes / remote_threads / kHostBufferBytes * kHostBufferBytes,
                                         small_window_bytes),
          .direct_bytes = direct_bytes,
          .is_remote = true};
}

ReadSummary summarize_reads(const LoadPlan& plan, const Checkpoint& checkpoint, const LoadOptions& options,
                            const StagingOptions& staging) {
  const ReadSettings settings = read_settings(plan, checkpoint, options);
  ReadSummary summary;
  summary.threads = settings.threads;
  summary.staging_bytes = staging_bytes(plan, options, settings, staging);
  std::map<uint32_t, ShardSummary> shards;
  const std::vector<ArenaAccess> access = planned_access(plan, staging);
  const ReadSchedule schedule = make_read_schedule(plan, checkpoint, access, settings.chunk_bytes);
  for (const ReadChunk& chunk : schedule.chunks) {
    ShardSummary& shard = shards[chunk.shard];
    shard.reads += reads_of(chunk, schedule, access[chunk.arena], settings.window_bytes);
    shard.read_bytes += chunk.file_bytes;
  }
  for (const CopyOperation& copy : plan.copies) ++shards[copy.shard].tensors;
  for (const uint32_t placement : plan.gathers)
    ++shards[checkpoint.tensors.at(plan.placements.at(placement).checkpoint).shard].tensors;
  for (auto& [index, shard] : shards) {
    shard.shard = index;
    summary.shards.push_back(shard);
  }
  return summary;
}

}  // namespace hfload
