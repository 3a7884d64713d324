#include <fmt/core.h>

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/units.h"
#include "core/load/backend.h"
#include "core/load/cuda_check.h"
#include "core/load/cuda_devices.h"
#include "core/load/host_memory.h"
#include "core/load/query_devices.h"
#include "core/load/staging_ring.h"
#include "kernels/cast_device.h"
#include "kernels/hash.h"

namespace hfload {
namespace {

// Two streams, so that one chunk is copied while another is cast.
constexpr uint32_t kLanes = 2;

// What owns each kind of CUDA object. Errors on release have no one to go to.
struct FreeDevice {
  void operator()(std::byte* memory) const { cudaFree(memory); }
};
struct Unregister {
  void operator()(std::byte* memory) const { cudaHostUnregister(memory); }
};
struct DestroyStream {
  void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
};
struct DestroyEvent {
  void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
};
using DeviceMemory = std::unique_ptr<std::byte, FreeDevice>;
using PinnedRange = std::unique_ptr<std::byte, Unregister>;
using Stream = std::unique_ptr<std::remove_pointer_t<cudaStream_t>, DestroyStream>;
using Event = std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, DestroyEvent>;

DeviceMemory allocate_on_device(uint64_t bytes, uint32_t ordinal) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    const uint64_t available = free_cuda_bytes(static_cast<int>(ordinal)).value_or(0);
    throw Error(ErrorCode::out_of_memory,
                fmt::format("GPU {} has {} ({} bytes) free; {} ({} bytes) are needed in one block", ordinal,
                            format_byte_size(static_cast<double>(available)), available,
                            format_byte_size(static_cast<double>(bytes)), bytes))
        .with_hint("Give the GPU a smaller budget with --max-memory, or end what else uses it.");
  }
  check_cuda(status, "cudaMalloc", ordinal);
  return DeviceMemory(static_cast<std::byte*>(memory));
}

PinnedRange pin(std::span<std::byte> memory, uint32_t ordinal) {
  check_cuda(cudaHostRegister(memory.data(), memory.size(), cudaHostRegisterPortable), "cudaHostRegister",
             ordinal);
  return PinnedRange(memory.data());
}

Stream make_stream(uint32_t ordinal) {
  cudaStream_t stream = nullptr;
  check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags", ordinal);
  return Stream(stream);
}

Event make_event(uint32_t ordinal) {
  cudaEvent_t event = nullptr;
  check_cuda(cudaEventCreateWithFlags(&event, cudaEventDisableTiming | cudaEventBlockingSync),
             "cudaEventCreateWithFlags", ordinal);
  return Event(event);
}

/// The node next to a GPU, by its place on the PCI bus.
std::optional<NumaNode> numa_node_of(uint32_t ordinal) {
  std::array<char, 32> bus_id{};  // "0000:1B:00.0", and room for wider domains
  check_cuda(cudaDeviceGetPCIBusId(bus_id.data(), static_cast<int>(bus_id.size()), static_cast<int>(ordinal)),
             "cudaDeviceGetPCIBusId", ordinal);
  return numa_node_of_pci_device("/sys", bus_id.data());
}

/// Memory for the ring that lies, once touched, next to the GPU.
HostMemory staging_near(const std::optional<NumaNode>& node, RingSize ring) {
  HostMemory memory(ring.slots * ring.slot_bytes);
  if (node) prefer_numa_node(memory.bytes(), node->node);
  return memory;
}

/// Copies from a pinned ring by the copy engine; casts from a scratch block on the device.
class CudaUploadQueue final : public UploadQueue {
 public:
  /// The device is current.
  CudaUploadQueue(uint32_t ordinal, std::byte* arena, const std::optional<NumaNode>& node, RingSize ring)
      : ordinal_(ordinal),
        arena_(arena),
        staging_(staging_near(node, ring)),
        pinned_(pin(staging_.bytes(), ordinal)),
        copied_(ring.slots),
        ring_(staging_.bytes(), ring.slots, [this](uint32_t index) { wait_until_copied(index); }) {
    for (Event& event : copied_) event = make_event(ordinal);
    for (Lane& lane : lanes_) lane.stream = make_stream(ordinal);
  }

  ~CudaUploadQueue() override {
    // Copies may still read the ring when a load has failed.
    cudaSetDevice(static_cast<int>(ordinal_));
    for (const Lane& lane : lanes_) {
      if (lane.stream) cudaStreamSynchronize(lane.stream.get());
    }
  }

  uint64_t slot_bytes() const override { return ring_.slot_bytes(); }
  StagingSlot acquire() override { return ring_.acquire(); }
  void release(StagingSlot slot) override { ring_.release(slot.index); }
  void synchronize() override { ring_.drain(); }

  void submit(StagingSlot slot, std::span<const Upload> uploads) override {
    Lane& lane = lanes_[slot.index % kLanes];
    const std::lock_guard lock(lane.mutex);
    try {
      check_cuda(cudaSetDevice(static_cast<int>(ordinal_)), "cudaSetDevice", ordinal_);
      for (const Upload& upload : uploads) start_copy(lane, slot.bytes.data() + upload.slot_offset, upload);
      check_cuda(cudaEventRecord(copied_[slot.index].get(), lane.stream.get()), "cudaEventRecord", ordinal_);
    } catch (...) {
      ring_.fail(std::current_exception());
      throw;
    }
    ring_.submitted(slot.index);
  }

 private:
  struct Lane {
    std::mutex mutex;
    Stream stream;
    DeviceMemory scratch;  ///< made for the first cast
  };

  void start_copy(Lane& lane, const std::byte* source, const Upload& upload) const {
    std::byte* const target = arena_ + upload.arena_offset;
    if (upload.cast == CastKind::none) {
      copy_to_device(target, source, upload.file_bytes, lane);
      return;
    }
    if (!lane.scratch) lane.scratch = allocate_on_device(ring_.slot_bytes() + sizeof(CastVector), ordinal_);
    // The stream's order keeps the next copy from overwriting the scratch before this cast has read it.
    const uint64_t element_bytes = cast_source_bytes(upload.cast);
    std::byte* const scratch =
        lane.scratch.get() +
        cast_source_shift(reinterpret_cast<uintptr_t>(target), element_bytes, cast_target_bytes(upload.cast));
    copy_to_device(scratch, source, upload.file_bytes, lane);
    check_cuda(static_cast<cudaError_t>(launch_cast(upload.cast, scratch, target,
                                                    upload.file_bytes / element_bytes, lane.stream.get())),
               "launching a cast kernel", ordinal_);
  }

  void copy_to_device(std::byte* target, const std::byte* source, uint64_t bytes, const Lane& lane) const {
    check_cuda(cudaMemcpyAsync(target, source, bytes, cudaMemcpyHostToDevice, lane.stream.get()),
               "cudaMemcpyAsync", ordinal_);
  }

  void wait_until_copied(uint32_t index) const {
    check_cuda(cudaSetDevice(static_cast<int>(ordinal_)), "cudaSetDevice", ordinal_);
    check_cuda(cudaEventSynchronize(copied_[index].get()), "cudaEventSynchronize", ordinal_);
  }

  uint32_t ordinal_;
  std::byte* arena_;
  HostMemory staging_;
  PinnedRange pinned_;
  std::vector<Event> copied_;  ///< by slot: its last copy is done
  std::array<Lane, kLanes> lanes_;
  StagingRing ring_;
};

class CudaBackend final : public Backend {
 public:
  CudaBackend(uint32_t ordinal, std::shared_ptr<GdsLibrary> gds, RingSize ring)
      : ordinal_(ordinal), gds_(std::move(gds)), ring_(ring) {}

  ~CudaBackend() override { cudaSetDevice(static_cast<int>(ordinal_)); }

  Device device() const override { return Device::gpu(ordinal_); }
  bool in_host_memory() const override { return false; }

  void allocate(uint64_t bytes) override {
    make_current();
    if (bytes != 0) arena_ = allocate_on_device(bytes, ordinal_);
    node_ = numa_node_of(ordinal_);
    queue_ = std::make_unique<CudaUploadQueue>(ordinal_, arena_.get(), node_, ring_);
  }

  std::span<std::byte> host_arena() override { return {}; }
  UploadQueue* upload_queue() override { return queue_.get(); }
  std::optional<NumaNode> numa_node() const override { return node_; }

  bool reads_files() const override { return gds_ != nullptr; }
  const GdsLibrary* gds() const override { return gds_.get(); }
  void read_file(const RegularFile& file, uint64_t file_offset, uint64_t arena_offset,
                 uint64_t bytes) override {
    make_current();
    gds_->read(file, file_offset, arena_.get(), arena_offset, bytes);
  }

  void read_back(uint64_t arena_offset, std::span<std::byte> into) override {
    if (into.empty()) return;
    make_current();
    check_cuda(cudaMemcpy(into.data(), arena_.get() + arena_offset, into.size(), cudaMemcpyDeviceToHost),
               "cudaMemcpy", ordinal_);
  }

  uint64_t hash_range(uint64_t arena_offset, uint64_t bytes, uint64_t first_word) override {
    make_current();
    HashLane& lane = hash_lanes_[next_hash_.fetch_add(1, std::memory_order_relaxed) % kLanes];
    const std::lock_guard lock(lane.mutex);
    if (!lane.stream) lane.stream = make_stream(ordinal_);
    if (!lane.sum) lane.sum = allocate_on_device(sizeof(uint64_t), ordinal_);
    auto* const device_sum = reinterpret_cast<uint64_t*>(lane.sum.get());
    const cudaStream_t stream = lane.stream.get();
    check_cuda(cudaMemsetAsync(device_sum, 0, sizeof(uint64_t), stream), "cudaMemsetAsync", ordinal_);
    check_cuda(static_cast<cudaError_t>(
                   launch_hash(arena_.get() + arena_offset, bytes, first_word, device_sum, stream)),
               "launching the hash kernel", ordinal_);
    uint64_t result = 0;
    check_cuda(cudaMemcpyAsync(&result, device_sum, sizeof result, cudaMemcpyDeviceToHost, stream),
               "cudaMemcpyAsync", ordinal_);
    check_cuda(cudaStreamSynchronize(stream), "cudaStreamSynchronize", ordinal_);
    return result;
  }

 private:
  /// Made for the first hash, and kept: several threads ask for one piece after the other.
  struct HashLane {
    std::mutex mutex;
    Stream stream;
    DeviceMemory sum;
  };

  void make_current() const {
    check_cuda(cudaSetDevice(static_cast<int>(ordinal_)), "cudaSetDevice", ordinal_);
  }

  uint32_t ordinal_;
  std::shared_ptr<GdsLibrary> gds_;
  RingSize ring_;
  std::optional<NumaNode> node_;
  DeviceMemory arena_;
  std::unique_ptr<CudaUploadQueue> queue_;
  std::array<HashLane, kLanes> hash_lanes_;
  std::atomic<uint32_t> next_hash_{0};
};

}  // namespace

std::unique_ptr<Backend> make_cuda_backend(uint32_t ordinal, std::shared_ptr<GdsLibrary> gds, RingSize ring) {
  const CudaStatus status = cuda_status();
  if (ordinal >= static_cast<uint64_t>(status.devices)) {
    const std::string reason = status.devices == 0
                                   ? status.reason
                                   : fmt::format("this machine's GPUs are 0 to {}", status.devices - 1);
    throw Error(ErrorCode::no_cuda, fmt::format("GPU {} cannot be used: {}", ordinal, reason))
        .with_hint("Place the model on cpu or disk, or try --emulate-gpus.");
  }
  return std::make_unique<CudaBackend>(ordinal, std::move(gds), ring);
}

}  // namespace hfload
