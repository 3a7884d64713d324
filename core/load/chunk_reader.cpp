#include "core/load/chunk_reader.h"

#include <algorithm>

#include "core/base/error.h"

namespace hfload {
namespace {

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

bool narrows(const Upload& upload) { return cast_target_bytes(upload.cast) < cast_source_bytes(upload.cast); }

}  // namespace

uint64_t ChunkReader::read(uint64_t index, OpenShard& shard, unsigned worker) {
  const ReadChunk& chunk = schedule_.chunks[index];
  const std::span<const Upload> uploads(&schedule_.uploads[chunk.first_upload], chunk.upload_count);
  bring(chunk, uploads, shard, worker);
  read_bytes_.fetch_add(chunk.file_bytes, std::memory_order_relaxed);
  uint64_t wanted = 0;
  for (const Upload& upload : uploads) wanted += upload.file_bytes;
  return wanted;
}

void ChunkReader::bring(const ReadChunk& chunk, std::span<const Upload> uploads, OpenShard& shard,
                        unsigned worker) {
  Backend& backend = *model_.backends[chunk.arena];
  if (chunk.direct) {
    const uint64_t arena_offset = uploads.front().arena_offset;
    if (backend.reads_files()) {
      return with_tensor_name(chunk.shard, chunk.file_offset, [&] {
        backend.read_file(shard.file, chunk.file_offset, arena_offset, chunk.file_bytes);
      });
    }
    backend.prepare(arena_offset, chunk.file_bytes);
    read_range(chunk.shard, chunk.file_offset, shard,
               backend.host_arena().subspan(arena_offset, chunk.file_bytes), worker);
  } else if (UploadQueue* const queue = backend.upload_queue()) {
    SlotLease slot(*queue);
    if (std::ranges::any_of(uploads, narrows)) {
      slot.submit(fill_narrowed(chunk, uploads, shard, worker, slot.bytes()));
    } else {
      read_range(chunk.shard, chunk.file_offset, shard, slot.bytes().first(chunk.file_bytes), worker);
      slot.submit(uploads);
    }
  } else {
    scatter(chunk, uploads, shard, worker, backend);
  }
}

void ChunkReader::scatter(const ReadChunk& chunk, std::span<const Upload> uploads, OpenShard& shard,
                          unsigned worker, Backend& backend) {
  const std::span<std::byte> buffer = buffer_of(worker).first(chunk.file_bytes);
  read_range(chunk.shard, chunk.file_offset, shard, buffer, worker);
  const std::span<std::byte> arena = backend.host_arena();
  for (const Upload& upload : uploads) {
    backend.prepare(upload.arena_offset, upload_target_bytes(upload));
    cast(upload.cast, buffer.data() + upload.slot_offset, arena.data() + upload.arena_offset,
         upload.file_bytes / cast_source_bytes(upload.cast));
  }
}

/// Reads a chunk by windows of the buffer's size and packs it into the slot, what narrows converted. Returns
/// what is left to be done with the slot's bytes.
std::span<const Upload> ChunkReader::fill_narrowed(const ReadChunk& chunk, std::span<const Upload> uploads,
                                                   OpenShard& shard, unsigned worker,
                                                   std::span<std::byte> slot) {
  const std::span<std::byte> buffer = buffer_of(worker);
  std::vector<Upload>& packed = scratch_[worker].uploads;
  packed.clear();
  uint64_t window_begin = 0, window_end = 0;  // bytes from the start of the chunk
  uint64_t filled = 0;
  for (const Upload& upload : uploads) {
    const uint64_t element_bytes = cast_source_bytes(upload.cast);
    Upload rest = upload;
    while (rest.file_bytes > 0) {
      if (rest.slot_offset < window_begin || rest.slot_offset + element_bytes > window_end) {
        window_begin = rest.slot_offset;
        window_end = std::min(window_begin + buffer.size(), chunk.file_bytes);
        read_range(chunk.shard, chunk.file_offset + window_begin, shard,
                   buffer.first(window_end - window_begin), worker);
      }
      const uint64_t in_window = std::min(rest.file_bytes, window_end - rest.slot_offset);
      const uint64_t bytes = in_window / element_bytes * element_bytes;
      const std::byte* const source = buffer.data() + (rest.slot_offset - window_begin);
      const bool is_narrowed = narrows(rest);
      const CastKind here = is_narrowed ? rest.cast : CastKind::none;
      const uint64_t count = bytes / cast_source_bytes(here);
      const uint64_t packed_bytes = count * cast_target_bytes(here);
      cast(here, source, slot.data() + filled, count);
      const CastKind later = is_narrowed ? CastKind::none : rest.cast;
      if (!packed.empty() && packed.back().cast == later &&
          packed.back().arena_offset + upload_target_bytes(packed.back()) == rest.arena_offset) {
        packed.back().file_bytes += packed_bytes;
      } else {
        packed.push_back({filled, packed_bytes, rest.arena_offset, later});
      }
      filled += packed_bytes;
      rest.slot_offset += bytes;
      rest.file_bytes -= bytes;
      rest.arena_offset += bytes / element_bytes * cast_target_bytes(rest.cast);
    }
  }
  return packed;
}

std::span<std::byte> ChunkReader::buffer_of(unsigned worker) {
  std::vector<std::byte>& buffer = scratch_[worker].buffer;
  buffer.resize(kHostBufferBytes);
  return buffer;
}

void ChunkReader::read_range(uint32_t shard_index, uint64_t file_offset, OpenShard& shard,
                             std::span<std::byte> into, unsigned worker) const {
  with_tensor_name(shard_index, file_offset, [&] { reader_.read(shard, file_offset, into, worker); });
}

void ChunkReader::with_tensor_name(uint32_t shard, uint64_t file_offset,
                                   const std::function<void()>& read) const {
  try {
    read();
  } catch (Error& error) {
    error.with_tensor(tensor_at(shard, error.offset().value_or(file_offset)));
    throw;
  }
}

/// The tensor of a shard that holds a byte of the file, for error messages.
std::string ChunkReader::tensor_at(uint32_t shard, uint64_t file_offset) const {
  const uint64_t data_start = checkpoint_.shards[shard].data_start;
  const CheckpointTensor* found = nullptr;
  for (const CheckpointTensor& tensor : checkpoint_.tensors) {
    if (tensor.shard != shard || file_offset >= data_start + tensor.end) continue;
    if (found == nullptr || tensor.end < found->end) found = &tensor;
  }
  return found == nullptr ? std::string() : found->name.str();
}

}  // namespace hfload
