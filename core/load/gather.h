#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "core/base/file.h"
#include "core/format/byte_source.h"
#include "core/format/tensor_reader.h"
#include "core/model/checkpoint.h"

namespace hfload {

/// Who may gather: two workers at a time, as each takes 5.3 MiB for it. Functions may be called from several
/// threads at once.
class GatherTurns {
 public:
  static constexpr uint64_t kMostBytes = 11 << 20;  ///< of all turns together

 private:
  struct Buffers {
    std::vector<std::byte> gathered;
    StridedReadBuffers strided;
  };

 public:
  /// Held while a worker gathers. To be taken before anything that others who wait for a turn may hold, such
  /// as a staging slot.
  class Turn {
   public:
    /// Waits for a turn.
    explicit Turn(GatherTurns& turns);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    /// kGatherBytes to gather into where the bytes are not wanted as they are.
    std::span<std::byte> buffer();
    StridedReadBuffers& strided() { return buffers_.strided; }

   private:
    GatherTurns& turns_;
    Buffers buffers_;
  };

 private:
  // Not a std::counting_semaphore: that of GCC 12 can lose a wake-up (bug 98033).
  std::mutex mutex_;
  std::condition_variable changed_;
  unsigned free_ = 2;
  std::vector<Buffers> buffers_;  ///< that nobody uses
};

/// Fills `into` with bytes of a described tensor, from `first_byte` on, as they are once it is contiguous and
/// little-endian. `source`: its shard. Throws as the source's read.
void gather(const Checkpoint& checkpoint, const CheckpointTensor& tensor, const ByteSource& source,
            uint64_t first_byte, std::span<std::byte> into, GatherTurns::Turn& turn);

/// The same of any tensor, in a turn if it has to be gathered. Throws as read_exactly.
void read_tensor(const Checkpoint& checkpoint, const CheckpointTensor& tensor, const RegularFile& shard,
                 uint64_t first_byte, std::span<std::byte> into, GatherTurns& turns);

}  // namespace hfload
