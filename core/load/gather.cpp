#include "core/load/gather.h"

#include <utility>

#include "core/load/read_schedule.h"

namespace hfload {

GatherTurns::Turn::Turn(GatherTurns& turns) : turns_(turns) {
  std::unique_lock lock(turns.mutex_);
  turns.changed_.wait(lock, [&] { return turns.free_ > 0; });
  --turns.free_;
  if (turns.buffers_.empty()) return;
  buffers_ = std::move(turns.buffers_.back());
  turns.buffers_.pop_back();
}

GatherTurns::Turn::~Turn() {
  {
    const std::lock_guard lock(turns_.mutex_);
    turns_.buffers_.push_back(std::move(buffers_));
    ++turns_.free_;
  }
  turns_.changed_.notify_one();
}

std::span<std::byte> GatherTurns::Turn::buffer() {
  buffers_.gathered.resize(kGatherBytes);
  return buffers_.gathered;
}

void gather(const Checkpoint& checkpoint, const CheckpointTensor& tensor, const ByteSource& source,
            uint64_t first_byte, std::span<std::byte> into, GatherTurns::Turn& turn) {
  const StridedTensor stored = stored_elements(checkpoint, tensor);
  read_tensor_elements(source, stored, first_byte / stored.element_bytes, into, turn.strided());
}

void read_tensor(const Checkpoint& checkpoint, const CheckpointTensor& tensor, const RegularFile& shard,
                 uint64_t first_byte, std::span<std::byte> into, GatherTurns& turns) {
  if (tensor.is_in_place()) {
    read_exactly(shard, checkpoint.shards.at(tensor.shard).data_start + tensor.begin + first_byte, into);
    return;
  }
  GatherTurns::Turn turn(turns);
  gather(checkpoint, tensor, FileSource(shard), first_byte, into, turn);
}

}  // namespace hfload
