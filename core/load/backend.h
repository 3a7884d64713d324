#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "core/base/file.h"
#include "core/load/gds.h"
#include "core/load/numa.h"
#include "core/plan/device.h"
#include "kernels/cast.h"

namespace hfload {

/// A slot of host memory that a reader fills and an upload queue sends to its device.
struct StagingSlot {
  std::span<std::byte> bytes;
  uint32_t index = 0;
};

/// How some bytes that were read from a file become bytes of an arena.
struct Upload {
  uint64_t slot_offset = 0;   ///< source, bytes from the start of the slot
  uint64_t file_bytes = 0;    ///< bytes of the source, a whole number of elements
  uint64_t arena_offset = 0;  ///< destination, bytes from the start of the arena
  CastKind cast = CastKind::none;
};

/// Bytes that an upload fills in the arena.
inline uint64_t upload_target_bytes(const Upload& upload) {
  return upload.file_bytes / cast_source_bytes(upload.cast) * cast_target_bytes(upload.cast);
}

/// The staging slots of a device.
struct RingSize {
  uint32_t slots = 0;
  uint64_t slot_bytes = 0;
};
/// The ring of each of a load's CUDA devices. 64 MiB keep the bus busy while readers fill slots; more is slow
/// to pin, so that several devices share that, down to 16 MiB each.
constexpr RingSize cuda_ring(uint64_t devices) {
  return {static_cast<uint32_t>(std::clamp<uint64_t>(16 / std::max<uint64_t>(devices, 1), 4, 16)), 4 << 20};
}
/// Small, as every emulated GPU has its own ring, and all are to stay within the staging that a load may use.
inline constexpr RingSize kEmulatedGpuRing{4, 1 << 20};

/// The way into memory that the host cannot write itself: a ring of staging slots, each reused once its
/// copies are done. All functions may be called from several threads at once. After a failed copy, acquire
/// and synchronize throw that failure: Error(cuda_error, out_of_memory).
class UploadQueue {
 public:
  virtual ~UploadQueue() = default;
  virtual uint64_t slot_bytes() const = 0;
  /// Waits for a slot that no copy needs any more. Every slot goes back by submit or release.
  virtual StagingSlot acquire() = 0;
  /// Starts the copies (and casts) from a slot into the arena and gives the slot back.
  virtual void submit(StagingSlot slot, std::span<const Upload> uploads) = 0;
  /// Gives a slot back unused.
  virtual void release(StagingSlot slot) = 0;
  /// Waits for all submitted copies. No slot may be in a reader's hands.
  virtual void synchronize() = 0;
};

/// The memory of one device. One object per device and load; it owns the device's arena and everything that
/// is needed to fill it, and releases all of it when destroyed.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual Device device() const = 0;
  /// Whether the arena takes the host's own memory, of which all arenas together may not want more than there
  /// is.
  virtual bool in_host_memory() const = 0;

  /// Allocates the arena, once. Throws Error(out_of_memory) naming the bytes asked for and those available.
  virtual void allocate(uint64_t bytes) = 0;

  /// To be called before a range of host_arena is written for the first time.
  virtual void prepare(uint64_t /*arena_offset*/, uint64_t /*bytes*/) {}
  /// Bytes of the arena that took small pages where huge ones cost more here.
  virtual uint64_t small_page_bytes() const { return 0; }

  /// The arena where readers may write into it, several at once; else empty.
  virtual std::span<std::byte> host_arena() = 0;
  /// Where host_arena is empty: how the arena is filled. Else null. Exists once the arena is allocated.
  virtual UploadQueue* upload_queue() = 0;

  /// The node of the host's memory that the device is next to, once the arena is allocated; nothing where it
  /// does not matter or is not known.
  virtual std::optional<NumaNode> numa_node() const { return std::nullopt; }

  /// Whether files can be read straight into the arena, and read_file may be called: large tensors that are
  /// not converted then go past the upload queue.
  virtual bool reads_files() const { return false; }
  /// Reads a range of a file into the arena. May be called from several threads at once.
  /// Throws Error(changed_during_read, io_error).
  virtual void read_file(const RegularFile& /*file*/, uint64_t /*file_offset*/, uint64_t /*arena_offset*/,
                         uint64_t /*bytes*/) {}
  /// What read_file goes by, where that is GPUDirect Storage; all backends of a load share one. Else null.
  virtual const GdsLibrary* gds() const { return nullptr; }

  /// Copies arena bytes back to the host; call after synchronize. May be called from several threads at once.
  virtual void read_back(uint64_t arena_offset, std::span<std::byte> into) = 0;
  /// The part of a tensor's hash (see kernels/hash.h) that a range of the arena stands for, computed where
  /// the memory is. `first_word`: the range's place in its tensor. Call after synchronize; from several
  /// threads at once.
  virtual uint64_t hash_range(uint64_t arena_offset, uint64_t bytes, uint64_t first_word) = 0;
};

/// The CPU's memory: anonymous, huge-page advised.
std::unique_ptr<Backend> make_host_backend();

/// A GPU that this machine lacks: host memory held to `budget_bytes`, filled through a staging ring by a
/// thread that stands for the copy engine.
std::unique_ptr<Backend> make_emulated_gpu_backend(uint32_t ordinal, uint64_t budget_bytes);

/// A CUDA device, filled through a pinned ring. Throws Error(no_cuda) in a build without CUDA, without a
/// driver, or without that device; the hint says which. With `gds`, large tensors are read by GPUDirect
/// Storage.
std::unique_ptr<Backend> make_cuda_backend(uint32_t ordinal, std::shared_ptr<GdsLibrary> gds = nullptr,
                                           RingSize ring = cuda_ring(1));

}  // namespace hfload
