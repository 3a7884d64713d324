#include "core/load/loader.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "core/base/error.h"
#include "core/base/units.h"
#include "core/load/host_memory.h"
#include "core/load/parallel_reads.h"
#include "core/load/read_schedule.h"

namespace hfload {
namespace {

void make_backends(LoadedModel& model, const BackendFactory& make_backend) {
  uint64_t host_bytes = 0;
  for (const Arena& arena : model.plan.arenas) {
    model.backends.push_back(make_backend(arena.device));
    if (model.backends.back()->in_host_memory()) host_bytes += arena.bytes;
  }
  // Linux grants more memory than there is, and kills the process that touches it: better to refuse here.
  const std::optional<uint64_t> available = available_host_bytes();
  if (available && host_bytes > *available) {
    throw Error(
        ErrorCode::out_of_memory,
        fmt::format("the weights placed in the host's memory need {} ({} bytes); {} ({} bytes) are available",
                    format_byte_size(static_cast<double>(host_bytes)), host_bytes,
                    format_byte_size(static_cast<double>(*available)), *available))
        .with_hint(
            "Give the CPU a smaller budget with --max-memory (what does not fit stays on the disk), or free "
            "memory.");
  }
  for (size_t i = 0; i < model.backends.size(); ++i) model.backends[i]->allocate(model.plan.arenas[i].bytes);
}

void map_offloaded(LoadedModel& model, const Checkpoint& checkpoint) {
  model.mappings.resize(checkpoint.shards.size());
  for (const TensorPlacement& placement : model.plan.placements) {
    if (placement.device.kind != Device::Kind::disk) continue;
    const uint32_t shard = checkpoint.tensors.at(placement.checkpoint).shard;
    if (model.mappings.at(shard).bytes().empty())
      model.mappings[shard] = MappedFile(reopen_shard(checkpoint, shard));
  }
}

std::vector<ArenaAccess> arena_access(const LoadedModel& model) {
  std::vector<ArenaAccess> access;
  for (const auto& backend : model.backends) {
    if (UploadQueue* const queue = backend->upload_queue()) {
      access.push_back({.host = false, .buffer_bytes = queue->slot_bytes()});
    } else {
      access.push_back({.host = true, .buffer_bytes = kHostBufferBytes});
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

/// A slot that finds its way back when reading into it fails.
class SlotLease {
 public:
  explicit SlotLease(UploadQueue& queue) : queue_(queue), slot_(queue.acquire()) {}
  SlotLease(const SlotLease&) = delete;
  SlotLease& operator=(const SlotLease&) = delete;
  ~SlotLease() {
    if (held_) queue_.release(slot_);
  }

  std::span<std::byte> bytes() const { return slot_.bytes; }
  void submit(std::span<const Upload> uploads) {
    held_ = false;
    queue_.submit(slot_, uploads);
  }

 private:
  UploadQueue& queue_;
  StagingSlot slot_;
  bool held_ = true;
};

class ChunkReader {
 public:
  ChunkReader(const LoadedModel& model, const Checkpoint& checkpoint, const ReadSchedule& schedule,
              unsigned workers)
      : model_(model), checkpoint_(checkpoint), schedule_(schedule), buffers_(workers) {}

  /// Brings one chunk to its arena; returns its wanted bytes.
  uint64_t read(uint64_t index, const RegularFile& file, unsigned worker) {
    const ReadChunk& chunk = schedule_.chunks[index];
    const std::span<const Upload> uploads(&schedule_.uploads[chunk.first_upload], chunk.upload_count);
    bring(chunk, uploads, file, worker);
    read_bytes_.fetch_add(chunk.file_bytes, std::memory_order_relaxed);
    uint64_t wanted = 0;
    for (const Upload& upload : uploads) wanted += upload.file_bytes;
    return wanted;
  }

  uint64_t read_bytes() const { return read_bytes_; }

 private:
  void bring(const ReadChunk& chunk, std::span<const Upload> uploads, const RegularFile& file,
             unsigned worker) {
    Backend& backend = *model_.backends[chunk.arena];
    const std::span<std::byte> arena = backend.host_arena();
    if (chunk.direct) {
      read_chunk(chunk, file, arena.subspan(uploads.front().arena_offset, chunk.file_bytes));
    } else if (UploadQueue* const queue = backend.upload_queue()) {
      SlotLease slot(*queue);
      read_chunk(chunk, file, slot.bytes().first(chunk.file_bytes));
      slot.submit(uploads);
    } else {
      std::vector<std::byte>& buffer = buffers_[worker];
      buffer.resize(kHostBufferBytes);
      read_chunk(chunk, file, std::span(buffer).first(chunk.file_bytes));
      for (const Upload& upload : uploads) {
        cast(upload.cast, buffer.data() + upload.slot_offset, arena.data() + upload.arena_offset,
             upload.file_bytes / cast_source_bytes(upload.cast));
      }
    }
  }

  void read_chunk(const ReadChunk& chunk, const RegularFile& file, std::span<std::byte> into) const {
    try {
      read_exactly(file, chunk.file_offset, into);
    } catch (Error& error) {
      error.with_tensor(tensor_at(chunk, error.offset().value_or(chunk.file_offset)));
      throw;
    }
  }

  /// The tensor of a chunk's shard that holds a byte of the file, for error messages.
  std::string tensor_at(const ReadChunk& chunk, uint64_t file_offset) const {
    const uint64_t data_start = checkpoint_.shards[chunk.shard].data_start;
    for (const CheckpointTensor& tensor : checkpoint_.tensors) {
      if (tensor.shard == chunk.shard && file_offset < data_start + tensor.end) return tensor.name;
    }
    return {};
  }

  const LoadedModel& model_;
  const Checkpoint& checkpoint_;
  const ReadSchedule& schedule_;
  std::vector<std::vector<std::byte>> buffers_;  ///< by worker; each touches its own alone
  std::atomic<uint64_t> read_bytes_{0};
};

}  // namespace

LoadedModel execute(LoadPlan plan, const Checkpoint& checkpoint, const BackendFactory& make_backend,
                    const LoadOptions& options) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point begin = Clock::now();
  LoadedModel model;
  model.plan = std::move(plan);
  make_backends(model, make_backend);
  map_offloaded(model, checkpoint);

  const ReadSchedule schedule = make_read_schedule(model.plan, checkpoint, arena_access(model));
  const unsigned threads = reader_threads(options);
  ChunkReader reader(model, checkpoint, schedule, threads);
  const std::optional<NumaNode> node = shared_numa_node(model);
  std::optional<ThreadAffinity> affinity;  // the readers inherit it
  if (node) affinity.emplace(node->cpus);
  run_parallel_reads(checkpoint,
                     {.count = schedule.chunks.size(),
                      .shard = [&](uint64_t chunk) { return schedule.chunks[chunk].shard; },
                      .work = [&](uint64_t chunk, const RegularFile& file,
                                  unsigned worker) { return reader.read(chunk, file, worker); },
                      .total_bytes = model.plan.copied_file_bytes},
                     options);
  for (const auto& backend : model.backends) {
    if (UploadQueue* const queue = backend->upload_queue()) queue->synchronize();
  }

  LoadStatistics& statistics = model.statistics;
  for (const Upload& upload : schedule.uploads) statistics.loaded_bytes += upload_target_bytes(upload);
  statistics.read_bytes = reader.read_bytes();
  statistics.offloaded_bytes = model.plan.disk_bytes;
  statistics.threads = threads;
  if (node) statistics.numa_node = node->node;
  statistics.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  return model;
}

}  // namespace hfload
