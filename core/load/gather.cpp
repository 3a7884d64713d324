#include "core/load/gather.h"

#include <utility>

#include "core/format/tensor_reader.h"
#include "core/load/read_schedule.h"

namespace hfload {

GatherTurns::Turn::Turn(GatherTurns& turns) : turns_(turns) { turns.free_.acquire(); }

GatherTurns::Turn::~Turn() {
  if (!buffer_.empty()) {
    const std::lock_guard lock(turns_.mutex_);
    turns_.buffers_.push_back(std::move(buffer_));
  }
  turns_.free_.release();
}

std::span<std::byte> GatherTurns::Turn::buffer() {
  if (buffer_.empty()) {
    const std::lock_guard lock(turns_.mutex_);
    if (!turns_.buffers_.empty()) {
      buffer_ = std::move(turns_.buffers_.back());
      turns_.buffers_.pop_back();
    }
  }
  buffer_.resize(kGatherBytes);
  return buffer_;
}

void gather(const Checkpoint& checkpoint, const CheckpointTensor& tensor, const ByteSource& source,
            uint64_t first_byte, std::span<std::byte> into) {
  const StridedTensor stored = stored_elements(checkpoint, tensor);
  read_tensor_elements(source, stored, first_byte / stored.element_bytes, into);
}

void read_tensor(const Checkpoint& checkpoint, const CheckpointTensor& tensor, const RegularFile& shard,
                 uint64_t first_byte, std::span<std::byte> into, GatherTurns& turns) {
  if (tensor.is_in_place()) {
    read_exactly(shard, checkpoint.shards.at(tensor.shard).data_start + tensor.begin + first_byte, into);
    return;
  }
  const GatherTurns::Turn turn(turns);
  gather(checkpoint, tensor, FileSource(shard), first_byte, into);
}

}  // namespace hfload
