#include "core/load/read_schedule.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <utility>

#include "core/base/error.h"

namespace hfload {
namespace {

// Two readers that fill a fresh huge page at once both clear it.
constexpr uint64_t kHugePageBytes = 2 << 20;

/// A run of bytes that is contiguous in its shard and in its arena.
struct Extent {
  uint32_t shard = 0;
  uint32_t arena = 0;
  uint64_t file_offset = 0;
  uint64_t file_bytes = 0;
  uint64_t arena_offset = 0;
  CastKind cast = CastKind::none;

  Upload upload(uint64_t slot_offset, uint64_t bytes) const {
    return {slot_offset, bytes, arena_offset, cast};
  }

  /// Takes the first `bytes` off.
  void drop(uint64_t bytes) {
    file_offset += bytes;
    file_bytes -= bytes;
    arena_offset += bytes / cast_source_bytes(cast) * cast_target_bytes(cast);
  }
};

bool continues(const Extent& extent, const Extent& next) {
  return next.shard == extent.shard && next.arena == extent.arena && next.cast == extent.cast &&
         next.file_offset == extent.file_offset + extent.file_bytes &&
         next.arena_offset == extent.arena_offset + upload_target_bytes(extent.upload(0, extent.file_bytes));
}

class ScheduleBuilder {
 public:
  ScheduleBuilder(const LoadPlan& plan, const Checkpoint& checkpoint, std::span<const ArenaAccess> access,
                  uint64_t chunk_bytes)
      : plan_(plan), checkpoint_(checkpoint), access_(access), chunk_bytes_(chunk_bytes) {
    for (uint32_t arena = 0; arena < plan.arenas.size(); ++arena)
      arena_of_[plan.arenas[arena].device] = arena;
    schedule_.uploads.reserve(plan.copies.size());
  }

  ReadSchedule build() && {
    Extent extent;
    for (const CopyOperation& copy : plan_.copies) {
      const Extent next = extent_of(copy);
      if (extent.file_bytes != 0 && continues(extent, next)) {
        extent.file_bytes += next.file_bytes;
      } else {
        add(extent);
        extent = next;
      }
    }
    add(extent);
    for (const uint32_t placement : plan_.gathers) gather(plan_.placements.at(placement));
    if (!plan_.gathers.empty()) std::ranges::stable_sort(schedule_.chunks, {}, &ReadChunk::shard);
    for (auto begin = schedule_.chunks.begin(); begin != schedule_.chunks.end();) {
      const auto end = std::find_if(begin, schedule_.chunks.end(),
                                    [&](const ReadChunk& c) { return c.shard != begin->shard; });
      let_devices_take_turns({begin, end});
      begin = end;
    }
    return std::move(schedule_);
  }

 private:
  Extent extent_of(const CopyOperation& copy) const {
    const TensorPlacement& placement = plan_.placements.at(copy.placement);
    const CheckpointTensor& tensor = checkpoint_.tensors.at(placement.checkpoint);
    Extent extent = whole(placement, tensor);
    // A copy may bring a part of its tensor only.
    const uint64_t skipped = copy.file_offset - extent.file_offset;
    if (copy.shard != extent.shard || skipped > tensor.bytes() ||
        copy.file_bytes > tensor.bytes() - skipped) {
      throw inconsistent(tensor, "a copy leaves it");
    }
    extent.drop(skipped);
    extent.file_bytes = copy.file_bytes;
    return extent;
  }

  /// A tensor as if it lay in its shard contiguous.
  Extent whole(const TensorPlacement& placement, const CheckpointTensor& tensor) const {
    const auto arena = arena_of_.find(placement.device);
    if (arena == arena_of_.end()) throw inconsistent(tensor, "its device has no arena");
    const Extent extent{
        tensor.shard,   arena->second,          checkpoint_.shards.at(tensor.shard).data_start + tensor.begin,
        tensor.bytes(), placement.arena_offset, cast_between(tensor.dtype, placement.dtype)};
    const uint64_t target_bytes = upload_target_bytes(extent.upload(0, extent.file_bytes));
    const uint64_t arena_bytes = plan_.arenas[arena->second].bytes;
    if (placement.arena_offset > arena_bytes || target_bytes > arena_bytes - placement.arena_offset)
      throw inconsistent(tensor, "it leaves its arena");
    return extent;
  }

  void gather(const TensorPlacement& placement) {
    const CheckpointTensor& tensor = checkpoint_.tensors.at(placement.checkpoint);
    Extent extent = whole(placement, tensor);
    const uint64_t file_offset = extent.file_offset, tensor_bytes = extent.file_bytes;
    const uint64_t element_bytes = tensor.element_bytes();
    const uint64_t most_bytes = access_[extent.arena].gather_bytes;
    while (extent.file_bytes > 0) {
      const uint64_t bytes = std::min(extent.file_bytes, most_bytes - most_bytes % element_bytes);
      start_chunk(extent, false);
      ReadChunk& chunk = schedule_.chunks.back();
      chunk.gathered = GatheredElements{placement.checkpoint, tensor_bytes - extent.file_bytes};
      chunk.file_offset = file_offset;
      chunk.file_bytes = bytes;
      chunk.upload_count = 1;
      schedule_.uploads.push_back(extent.upload(0, bytes));
      extent.drop(bytes);
    }
  }

  static Error inconsistent(const CheckpointTensor& tensor, const char* reason) {
    return Error(ErrorCode::internal, fmt::format("the load plan is inconsistent: {}", reason))
        .with_tensor(tensor.name.str());
  }

  void add(Extent extent) {
    if (extent.file_bytes == 0) return;
    const ArenaAccess& access = access_[extent.arena];
    if (access.host && extent.cast == CastKind::none && extent.file_bytes >= access.buffer_bytes) {
      while (extent.file_bytes > 0) {
        const uint64_t bytes = std::min(extent.file_bytes, chunk_bytes_);
        start_chunk(extent, true);
        append(extent, bytes);
      }
      return;
    }
    uint64_t bytes = room_for(extent);
    while (extent.file_bytes > 0) {
      if (bytes == 0) start_chunk(extent, false);
      append(extent, bytes == 0 ? room_for(extent) : bytes);
      bytes = 0;
    }
  }

  /// How much of the extent the last chunk can take, a whole number of elements; 0: none.
  uint64_t room_for(const Extent& extent) const {
    if (schedule_.chunks.empty()) return 0;
    const ReadChunk& chunk = schedule_.chunks.back();
    const uint64_t end = chunk.file_offset + chunk.file_bytes;
    if (chunk.direct || chunk.shard != extent.shard || chunk.arena != extent.arena ||
        extent.file_offset < end || extent.file_offset - end > kMaxGapBytes) {
      return 0;
    }
    const uint64_t used = extent.file_offset - chunk.file_offset;
    const ArenaAccess& access = access_[extent.arena];
    const uint64_t limit = access.by_windows ? chunk_bytes_ : std::min(access.buffer_bytes, chunk_bytes_);
    if (used >= limit) return 0;
    if (limit - used >= extent.file_bytes) return extent.file_bytes;
    const uint64_t room = (limit - used) / cast_source_bytes(extent.cast) * cast_source_bytes(extent.cast);
    return access.by_windows ? up_to_huge_page(extent, room) : room;
  }

  /// `bytes` of the extent's beginning or less, so that the rest begins with a huge page; all of them where
  /// they reach none.
  static uint64_t up_to_huge_page(const Extent& extent, uint64_t bytes) {
    const uint64_t end = extent.arena_offset + upload_target_bytes(extent.upload(0, bytes));
    const uint64_t aligned_end = end / kHugePageBytes * kHugePageBytes;
    if (aligned_end <= extent.arena_offset) return bytes;
    const uint64_t elements = (aligned_end - extent.arena_offset) / cast_target_bytes(extent.cast);
    return elements == 0 ? bytes : elements * cast_source_bytes(extent.cast);
  }

  /// Orders the chunks of one shard by how much of what it has for their arena comes before them. Readers
  /// would else all wait for one device while the others have nothing to do.
  void let_devices_take_turns(std::span<ReadChunk> chunks) const {
    std::map<uint32_t, uint64_t> total_bytes;
    for (const ReadChunk& chunk : chunks) total_bytes[chunk.arena] += chunk.file_bytes;
    if (std::ranges::count_if(total_bytes, [&](const auto& t) { return !access_[t.first].by_windows; }) < 2)
      return;
    std::map<uint32_t, uint64_t> bytes_before;
    std::vector<std::pair<double, ReadChunk>> by_progress;
    by_progress.reserve(chunks.size());
    for (const ReadChunk& chunk : chunks) {
      uint64_t& before = bytes_before[chunk.arena];
      by_progress.emplace_back(static_cast<double>(before) / static_cast<double>(total_bytes[chunk.arena]),
                               chunk);
      before += chunk.file_bytes;
    }
    std::ranges::stable_sort(by_progress, {}, &std::pair<double, ReadChunk>::first);
    std::ranges::transform(by_progress, chunks.begin(), &std::pair<double, ReadChunk>::second);
  }

  void start_chunk(const Extent& extent, bool direct) {
    schedule_.chunks.push_back({.shard = extent.shard,
                                .arena = extent.arena,
                                .file_offset = extent.file_offset,
                                .first_upload = schedule_.uploads.size(),
                                .direct = direct});
  }

  void append(Extent& extent, uint64_t bytes) {
    ReadChunk& chunk = schedule_.chunks.back();
    const uint64_t slot_offset = extent.file_offset - chunk.file_offset;
    schedule_.uploads.push_back(extent.upload(slot_offset, bytes));
    ++chunk.upload_count;
    chunk.file_bytes = slot_offset + bytes;
    extent.drop(bytes);
  }

  const LoadPlan& plan_;
  const Checkpoint& checkpoint_;
  std::span<const ArenaAccess> access_;
  uint64_t chunk_bytes_;
  std::map<Device, uint32_t> arena_of_;
  ReadSchedule schedule_;
};

}  // namespace

CastKind cast_between(Dtype file, Dtype memory) {
  if (file == memory) return CastKind::none;
  const auto pair = [&](Dtype from, Dtype to) { return file == from && memory == to; };
  if (pair(Dtype::f32, Dtype::f16)) return CastKind::f32_to_f16;
  if (pair(Dtype::f32, Dtype::bf16)) return CastKind::f32_to_bf16;
  if (pair(Dtype::f16, Dtype::f32)) return CastKind::f16_to_f32;
  if (pair(Dtype::f16, Dtype::bf16)) return CastKind::f16_to_bf16;
  if (pair(Dtype::bf16, Dtype::f32)) return CastKind::bf16_to_f32;
  if (pair(Dtype::bf16, Dtype::f16)) return CastKind::bf16_to_f16;
  throw Error(ErrorCode::unsupported_dtype,
              fmt::format("there is no conversion from {} to {}", dtype_info(file).safetensors_name,
                          dtype_info(memory).safetensors_name));
}

ReadSchedule make_read_schedule(const LoadPlan& plan, const Checkpoint& checkpoint,
                                std::span<const ArenaAccess> access, uint64_t chunk_bytes) {
  return ScheduleBuilder(plan, checkpoint, access, chunk_bytes).build();
}

}  // namespace hfload
