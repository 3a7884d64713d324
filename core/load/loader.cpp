#include "core/load/loader.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "core/base/error.h"
#include "core/base/units.h"
#include "core/load/chunk_reader.h"
#include "core/load/host_memory.h"
#include "core/load/load_summary.h"
#include "core/load/parallel_reads.h"
#include "core/load/read_schedule.h"
#include "core/load/shard_reader.h"

namespace hfload {
namespace {

void make_backends(LoadedModel& model, const BackendFactory& make_backend) {
  uint64_t host_bytes = 0;
  for (const Arena& arena : model.plan.arenas) {
    model.backends.push_back(make_backend(arena.device));
    if (model.backends.back()->in_host_memory()) host_bytes += arena.bytes;
  }
  // Linux grants more memory than there is, and kills the process that touches it: better to refuse here.
  const std::optional<HostRoom> room = host_room();
  if (room && host_bytes > room->bytes) {
    throw Error(
        ErrorCode::out_of_memory,
        fmt::format("the weights placed in the host's memory need {} ({} bytes); {} ({} bytes) are {}",
                    format_byte_size(static_cast<double>(host_bytes)), host_bytes,
                    format_byte_size(static_cast<double>(room->bytes)), room->bytes,
                    room->is_of_control_group
                        ? "left below the memory limit of this container or control group"
                        : "available"))
        .with_hint(
            fmt::format("Give the CPU a smaller budget with --max-memory (what does not fit stays on the "
                        "disk), or {}.",
                        room->is_of_control_group ? "raise the limit (docker run --memory)" : "free memory"));
  }
  for (size_t i = 0; i < model.backends.size(); ++i) model.backends[i]->allocate(model.plan.arenas[i].bytes);
}

void map_in_place(LoadedModel& model, const Checkpoint& checkpoint) {
  model.mappings.resize(checkpoint.shards.size());
  for (const TensorPlacement& placement : model.plan.placements) {
    if (!placement.in_file) continue;
    const uint32_t shard = checkpoint.tensors.at(placement.checkpoint).shard;
    if (model.mappings.at(shard).bytes().empty())
      model.mappings[shard] = MappedFile(reopen_shard(checkpoint, shard));
  }
}

std::vector<ArenaAccess> arena_access(const LoadedModel& model) {
  std::vector<ArenaAccess> access;
  for (const auto& backend : model.backends) {
    if (UploadQueue* const queue = backend->upload_queue()) {
      access.push_back({.host = backend->reads_files(),
                        .buffer_bytes = queue->slot_bytes(),
                        .gather_bytes = std::min(kGatherBytes, queue->slot_bytes())});
    } else {
      access.push_back({.host = true, .buffer_bytes = kHostBufferBytes, .by_windows = true});
    }
  }
  return access;
}

/// The node that all devices are next to. Readers that also fill the host's own memory are better off on all
/// CPUs.
std::optional<NumaNode> shared_numa_node(const LoadedModel& model) {
  std::optional<NumaNode> shared;
  for (const auto& backend : model.backends) {
    std::optional<NumaNode> node = backend->numa_node();
    if (!node || (shared && shared->node != node->node)) return std::nullopt;
    shared = std::move(node);
  }
  return shared;
}

}  // namespace

LoadedModel execute(LoadPlan plan, const Checkpoint& checkpoint, const BackendFactory& make_backend,
                    const LoadOptions& options) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  LoadedModel model;
  model.plan = std::move(plan);
  make_backends(model, make_backend);
  map_in_place(model, checkpoint);

  const ReadSettings settings = read_settings(model.plan, checkpoint, options);
  LoadOptions reading = options;
  reading.threads = settings.threads;
  const ReadSchedule schedule =
      make_read_schedule(model.plan, checkpoint, arena_access(model), settings.chunk_bytes);
  std::vector<CopyOperation>().swap(model.plan.copies);  // all in the schedule, and 10^5 are megabytes
  ShardReader shard_reader(options.read_path, reading.threads, settings.direct_bytes);
  ChunkReader reader(model, checkpoint, schedule, shard_reader, reading.threads, settings.window_bytes);
  const std::optional<NumaNode> node = shared_numa_node(model);
  std::optional<ThreadAffinity> affinity;  // the readers inherit it
  if (node) affinity.emplace(node->cpus);
  run_parallel_reads(checkpoint,
                     {.count = schedule.chunks.size(),
                      .shard = [&](uint64_t chunk) { return schedule.chunks[chunk].shard; },
                      .bytes =
                          [&](uint64_t index) {
                            const ReadChunk& chunk = schedule.chunks[index];
                            // Each by itself: no huge pages are filled, and the next one is for another
                            // device.
                            return model.backends[chunk.arena]->upload_queue() ? kChunkBytes
                                                                               : chunk.file_bytes;
                          },
                      .work = [&](uint64_t chunk, OpenShard& shard,
                                  unsigned worker) { return reader.read(chunk, shard, worker); },
                      .opened = [&](OpenShard& shard) { shard_reader.prepare(shard); },
                      .total_bytes = model.plan.copied_file_bytes},
                     reading);
  for (const auto& backend : model.backends) {
    if (UploadQueue* const queue = backend->upload_queue()) queue->synchronize();
  }

  LoadStatistics& statistics = model.statistics;
  for (const Upload& upload : schedule.uploads) statistics.loaded_bytes += upload_target_bytes(upload);
  statistics.read_bytes = reader.read_bytes();
  statistics.reads = shard_reader.statistics();
  statistics.offloaded_bytes = model.plan.disk_bytes;
  statistics.mapped_bytes = model.plan.mapped_bytes;
  statistics.threads = reading.threads;
  for (const auto& backend : model.backends) {
    statistics.small_page_bytes += backend->small_page_bytes();
    if (const GdsLibrary* const gds = backend->gds()) statistics.gds = gds->statistics();
  }
  if (affinity && affinity->changed()) statistics.numa_node = node->node;
  statistics.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return model;
}

}  // namespace hfload
