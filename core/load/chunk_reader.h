#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/load/gather.h"
#include "core/load/loader.h"
#include "core/load/read_schedule.h"
#include "core/load/shard_reader.h"
#include "core/model/checkpoint.h"

namespace hfload {

/// Carries out the reads of a schedule: straight into a host arena, by windows through a buffer that fits a
/// processor's L2 cache where bytes are converted or scattered, or through a slot of a device's staging ring.
/// What narrows on the way to a device is converted before it crosses the bus, what widens after it.
/// Functions may be called from several threads at once, each with a `worker` of its own.
class ChunkReader {
 public:
  /// `window_bytes`: size of each worker's buffer.
  ChunkReader(const LoadedModel& model, const Checkpoint& checkpoint, const ReadSchedule& schedule,
              ShardReader& reader, unsigned workers, uint64_t window_bytes = kHostBufferBytes)
      : model_(model),
        checkpoint_(checkpoint),
        schedule_(schedule),
        reader_(reader),
        window_bytes_(window_bytes),
        scratch_(workers) {}

  /// Brings one chunk to its arena; returns its wanted bytes. Throws Error as ShardReader and UploadQueue do,
  /// with the name of the tensor.
  uint64_t read(uint64_t chunk, OpenShard& shard, unsigned worker);

  uint64_t read_bytes() const { return read_bytes_; }

 private:
  /// What a worker alone touches.
  struct Scratch {
    std::vector<std::byte> buffer;
    std::vector<Upload> uploads;
  };

  void bring(const ReadChunk& chunk, std::span<const Upload> uploads, OpenShard& shard, unsigned worker);
  void gather_elements(const ReadChunk& chunk, const Upload& upload, OpenShard& shard, unsigned worker);
  void scatter(const ReadChunk& chunk, std::span<const Upload> uploads, OpenShard& shard, unsigned worker,
               Backend& backend);
  std::span<const Upload> fill_narrowed(const ReadChunk& chunk, std::span<const Upload> uploads,
                                        OpenShard& shard, unsigned worker, std::span<std::byte> slot);
  /// Reads a chunk by windows of the buffer's size, and calls `use(const std::byte* source, const Upload&
  /// part)` for what each of them holds of each upload, in whole elements.
  template <class Use>
  void read_by_windows(const ReadChunk& chunk, std::span<const Upload> uploads, OpenShard& shard,
                       unsigned worker, Use&& use);
  void read_range(uint32_t shard_index, uint64_t file_offset, OpenShard& shard, std::span<std::byte> into,
                  unsigned worker) const;
  void with_tensor_name(uint32_t shard, uint64_t file_offset, const std::function<void()>& read) const;
  std::string tensor_at(uint32_t shard, uint64_t file_offset) const;

  const LoadedModel& model_;
  const Checkpoint& checkpoint_;
  const ReadSchedule& schedule_;
  ShardReader& reader_;
  uint64_t window_bytes_;
  std::vector<Scratch> scratch_;  ///< by worker
  GatherTurns gather_turns_;
  std::atomic<uint64_t> read_bytes_{0};
};

}  // namespace hfload
