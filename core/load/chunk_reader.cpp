#include "core/load/chunk_reader.h"

#include <algorithm>
#include <cstring>

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

/// A shard that is read here and there.
class ScatteredSource final : public ByteSource {
 public:
  ScatteredSource(ShardReader& reader, OpenShard& shard, unsigned worker, std::atomic<uint64_t>& read_bytes)
      : reader_(reader), shard_(shard), worker_(worker), read_bytes_(read_bytes) {}
  uint64_t bytes() const override { return shard_.file.identity.bytes; }
  void read(uint64_t offset, std::span<std::byte> into) const override {
    reader_.read_scattered(shard_, offset, into, worker_);
    read_bytes_.fetch_add(into.size(), std::memory_order_relaxed);
  }

 private:
  ShardReader& reader_;
  OpenShard& shard_;
  unsigned worker_;
  std::atomic<uint64_t>& read_bytes_;
};

bool narrows(const Upload& upload) { return cast_target_bytes(upload.cast) < cast_source_bytes(upload.cast); }

}  // namespace

uint64_t ChunkReader::read(uint64_t index, OpenShard& shard, unsigned worker) {
  const ReadChunk& chunk = schedule_.chunks[index];
  const std::span<const Upload> uploads(&schedule_.uploads[chunk.first_upload], chunk.upload_count);
  if (chunk.gathered) {
    gather_elements(chunk, uploads.front(), shard, worker);
  } else {
    bring(chunk, uploads, shard, worker);
    read_bytes_.fetch_add(chunk.file_bytes, std::memory_order_relaxed);
  }
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

/// Straight to where they belong, or through a buffer what is converted on the way there.
void ChunkReader::gather_elements(const ReadChunk& chunk, const Upload& upload, OpenShard& shard,
                                  unsigned worker) {
  const CheckpointTensor& tensor = checkpoint_.tensors[chunk.gathered->tensor];
  GatherTurns::Turn turn(gather_turns_);
  const auto gather_into = [&](std::span<std::byte> into) {
    try {
      gather(checkpoint_, tensor, ScatteredSource(reader_, shard, worker, read_bytes_),
             chunk.gathered->first_byte, into, turn);
    } catch (Error& error) {
      error.with_tensor(tensor.name.str());
      throw;
    }
  };
  Backend& backend = *model_.backends[chunk.arena];
  const uint64_t target_bytes = upload_target_bytes(upload);
  const auto convert_into = [&](std::span<std::byte> into) {
    const std::span<std::byte> gathered = turn.buffer().first(upload.file_bytes);
    gather_into(gathered);
    cast(upload.cast, gathered.data(), into.data(), upload.file_bytes / cast_source_bytes(upload.cast));
  };
  if (UploadQueue* const queue = backend.upload_queue()) {
    SlotLease slot(*queue);
    Upload left = upload;
    if (narrows(upload)) {
      convert_into(slot.bytes().first(target_bytes));
      left = {0, target_bytes, upload.arena_offset, CastKind::none};
    } else {
      gather_into(slot.bytes().first(upload.file_bytes));
    }
    slot.submit({&left, 1});
    return;
  }
  backend.prepare(upload.arena_offset, target_bytes);
  const std::span<std::byte> target = backend.host_arena().subspan(upload.arena_offset, target_bytes);
  upload.cast == CastKind::none ? gather_into(target) : convert_into(target);
}

template <class Use>
void ChunkReader::read_by_windows(const ReadChunk& chunk, std::span<const Upload> uploads, OpenShard& shard,
                                  unsigned worker, Use&& use) {
  // The end of one window is put before the next one where an element lies in both.
  constexpr uint64_t kMostCarried = 64;
  std::vector<std::byte>& buffer = scratch_[worker].buffer;
  buffer.resize(kMostCarried + window_bytes_);
  std::byte* const window = buffer.data() + kMostCarried;
  uint64_t window_begin = 0, window_end = 0;  // bytes from the start of the chunk
  for (const Upload& upload : uploads) {
    const uint64_t element_bytes = cast_source_bytes(upload.cast);
    Upload rest = upload;
    while (rest.file_bytes > 0) {
      while (rest.slot_offset + element_bytes > window_end) {
        const uint64_t carried = window_end - std::min(rest.slot_offset, window_end);
        std::memmove(window - carried, window + (window_end - window_begin) - carried, carried);
        window_begin = window_end;
        window_end = std::min(window_begin + window_bytes_, chunk.file_bytes);
        read_range(chunk.shard, chunk.file_offset + window_begin, shard, {window, window_end - window_begin},
                   worker);
      }
      const uint64_t in_window = std::min(rest.file_bytes, window_end - rest.slot_offset);
      Upload part = rest;
      part.file_bytes = in_window / element_bytes * element_bytes;
      use(window + rest.slot_offset - window_begin, part);
      rest.slot_offset += part.file_bytes;
      rest.file_bytes -= part.file_bytes;
      rest.arena_offset += upload_target_bytes(part);
    }
  }
}

void ChunkReader::scatter(const ReadChunk& chunk, std::span<const Upload> uploads, OpenShard& shard,
                          unsigned worker, Backend& backend) {
  const std::span<std::byte> arena = backend.host_arena();
  read_by_windows(chunk, uploads, shard, worker, [&](const std::byte* source, const Upload& part) {
    backend.prepare(part.arena_offset, upload_target_bytes(part));
    cast(part.cast, source, arena.data() + part.arena_offset, part.file_bytes / cast_source_bytes(part.cast));
  });
}

/// Packs a chunk into the slot, what narrows converted. Returns what is left to be done with the slot's
/// bytes.
std::span<const Upload> ChunkReader::fill_narrowed(const ReadChunk& chunk, std::span<const Upload> uploads,
                                                   OpenShard& shard, unsigned worker,
                                                   std::span<std::byte> slot) {
  std::vector<Upload>& packed = scratch_[worker].uploads;
  packed.clear();
  uint64_t filled = 0;
  read_by_windows(chunk, uploads, shard, worker, [&](const std::byte* source, const Upload& part) {
    const bool is_narrowed = narrows(part);
    const CastKind here = is_narrowed ? part.cast : CastKind::none;
    const uint64_t count = part.file_bytes / cast_source_bytes(here);
    const uint64_t packed_bytes = count * cast_target_bytes(here);
    cast(here, source, slot.data() + filled, count);
    const CastKind later = is_narrowed ? CastKind::none : part.cast;
    if (!packed.empty() && packed.back().cast == later &&
        packed.back().arena_offset + upload_target_bytes(packed.back()) == part.arena_offset) {
      packed.back().file_bytes += packed_bytes;
    } else {
      packed.push_back({filled, packed_bytes, part.arena_offset, later});
    }
    filled += packed_bytes;
  });
  return packed;
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
