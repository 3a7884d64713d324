// Loads of devices that are filled through rings: plan, schedule, readers and ring together.

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/load/loader.h"
#include "core/load/staging_ring.h"
#include "test/unit/load/synthetic_model.h"

namespace hfload::test {
namespace {

/// A device that copies a slot when somebody waits for that, and not before: what is refilled too early is
/// lost.
class LazyDevice final : public Backend, private UploadQueue {
 public:
  /// `before_first`: called when a slot is asked for the first time; all who ask wait until it returns.
  LazyDevice(Device device, uint64_t slot_bytes, std::function<void()> before_first = nullptr)
      : device_(device), memory_(kSlots * slot_bytes), before_first_(std::move(before_first)) {}

  Device device() const override { return device_; }
  bool in_host_memory() const override { return false; }
  void allocate(uint64_t bytes) override { arena_.resize(bytes); }
  std::span<std::byte> host_arena() override { return {}; }
  UploadQueue* upload_queue() override { return this; }
  void read_back(uint64_t arena_offset, std::span<std::byte> into) override {
    std::copy_n(arena_.begin() + static_cast<std::ptrdiff_t>(arena_offset), into.size(), into.begin());
  }
  uint64_t hash_range(uint64_t /*arena_offset*/, uint64_t /*bytes*/, uint64_t /*first_word*/) override {
    return 0;
  }

  std::atomic<uint64_t> sent_bytes{0};  ///< over the bus

 private:
  uint64_t slot_bytes() const override { return ring_.slot_bytes(); }
  StagingSlot acquire() override {
    if (before_first_) std::call_once(asked_, before_first_);
    return ring_.acquire();
  }
  void submit(StagingSlot slot, std::span<const Upload> uploads) override {
    for (const Upload& upload : uploads) {
      // Readers call this at the same time, which assertions do not allow.
      if (upload.slot_offset + upload.file_bytes > slot.bytes.size())
        throw std::logic_error("an upload leaves its slot");
      sent_bytes += upload.file_bytes;
    }
    submitted_[slot.index].assign(uploads.begin(), uploads.end());
    ring_.submitted(slot.index);
  }
  void release(StagingSlot slot) override { ring_.release(slot.index); }
  void synchronize() override { ring_.drain(); }

  void copy(uint32_t index) {
    for (const Upload& upload : submitted_[index]) {
      cast_reference(upload.cast, memory_.data() + index * ring_.slot_bytes() + upload.slot_offset,
                     arena_.data() + upload.arena_offset, upload.file_bytes / cast_source_bytes(upload.cast));
    }
  }

  static constexpr uint32_t kSlots = 3;
  Device device_;
  std::vector<std::byte> memory_, arena_;
  std::vector<Upload> submitted_[kSlots];
  std::function<void()> before_first_;
  std::once_flag asked_;
  StagingRing ring_{memory_, kSlots, [this](uint32_t index) { copy(index); }};
};

BackendFactory lazy_devices(uint64_t slot_bytes) {
  return [=](Device device) { return std::make_unique<LazyDevice>(device, slot_bytes); };
}

constexpr std::pair<Dtype, Dtype> kDtypes[] = {{Dtype::u8, Dtype::u8},
                                               {Dtype::f32, Dtype::bf16},
                                               {Dtype::bf16, Dtype::f32},
                                               {Dtype::f16, Dtype::bf16},
                                               {Dtype::i64, Dtype::i64}};

TEST_CASE("every byte arrives through slots of any size") {
  constexpr uint64_t kElements = 30'011;
  for (const auto& [from, to] : kDtypes) {
    const SyntheticTensor tensor{
        .device = Device::gpu(0), .elements = kElements, .file_dtype = from, .memory_dtype = to};
    // Alone; and behind others, off every alignment.
    const SyntheticModel alone({tensor}, 1);
    const SyntheticModel among({{.device = Device::gpu(0), .elements = 3},
                                tensor,
                                tensor,
                                {.device = Device::gpu(0), .elements = 5, .gap_before = 7},
                                tensor});
    const uint64_t tensor_bytes = kElements * dtype_info(from).bits / 8;
    for (const uint64_t slot_bytes :
         {uint64_t{4}, uint64_t{1000}, uint64_t{1001}, uint64_t{65'533}, tensor_bytes, 3 * tensor_bytes}) {
      INFO("slots of " << slot_bytes << " bytes");
      for (const SyntheticModel* const model : {&alone, &among}) {
        CHECK(model
                  ->wrong_tensors(
                      execute(model->plan, model->checkpoint, lazy_devices(slot_bytes), {.threads = 3}))
                  .empty());
      }
    }
  }
}

TEST_CASE("the narrower dtype crosses the bus, both ways") {
  constexpr uint64_t kElements = 300'000;
  for (const auto& [from, to] : kDtypes) {
    const SyntheticModel synthetic(
        {{.device = Device::gpu(0), .elements = kElements, .file_dtype = from, .memory_dtype = to}});
    for (const uint64_t slot_bytes : {10'000, 1 << 20}) {
      const LoadedModel model =
          execute(synthetic.plan, synthetic.checkpoint, lazy_devices(slot_bytes), {.threads = 2});
      const auto& device = dynamic_cast<const LazyDevice&>(*model.backends.at(0));
      const uint64_t narrower_bits = std::min(dtype_info(from).bits, dtype_info(to).bits);
      CHECK(device.sent_bytes == kElements * narrower_bits / 8);
    }
  }
}

/// Lets nobody go on before both have come, but for not longer than some seconds.
class Meeting {
 public:
  void attend() {
    std::unique_lock lock(mutex_);
    ++present_;
    changed_.notify_all();
    if (!changed_.wait_for(lock, std::chrono::seconds(5), [&] { return present_ >= 2; })) gave_up_ = true;
  }
  bool took_place() const { return present_ >= 2 && !gave_up_; }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int present_ = 0;
  bool gave_up_ = false;
};

TEST_CASE("two GPUs are fed at once from a shard that holds one's tensors before the other's") {
  const SyntheticModel synthetic({{.device = Device::gpu(0), .elements = 30'000'000},
                                  {.device = Device::gpu(1), .elements = 30'000'000}});
  for (const uint64_t slot_bytes : {4 << 20, 1 << 16}) {
    Meeting meeting;
    const auto factory = [&](Device device) {
      return std::make_unique<LazyDevice>(device, slot_bytes, [&] { meeting.attend(); });
    };
    const LoadedModel model = execute(synthetic.plan, synthetic.checkpoint, factory, {.threads = 2});
    CHECK(meeting.took_place());
    CHECK(synthetic.wrong_tensors(model).empty());
  }
}

TEST_CASE("each wanted byte is read exactly once, whatever fills whom") {
  for (const auto& [from, to] : kDtypes) {
    std::vector<SyntheticTensor> tensors;
    for (const Device device :
         {Device::gpu(0), Device::cpu(), Device::gpu(1), Device::gpu(0), Device::cpu()}) {
      for (const uint64_t elements : {700'001, 5, 70'000}) {
        // The bytes between keep the next tensor off its alignment.
        tensors.push_back({.device = device, .elements = elements, .file_dtype = from, .memory_dtype = to});
        tensors.push_back({.device = device, .elements = 3});
      }
    }
    const SyntheticModel synthetic(tensors);
    const auto factory = [&](Device device) -> std::unique_ptr<Backend> {
      if (device.is_gpu()) return std::make_unique<LazyDevice>(device, 1 << 20);
      return make_host_backend();
    };
    const LoadedModel model =
        execute(synthetic.plan, synthetic.checkpoint, factory, {.threads = 3, .read_path = ReadPath::pread});
    CHECK(synthetic.wrong_tensors(model).empty());
    CHECK(model.statistics.read_bytes == synthetic.plan.copied_file_bytes);
    CHECK(model.statistics.reads.buffered_bytes == synthetic.plan.copied_file_bytes);
  }
}

/// A device that has an arena, or none to give.
class Granting final : public Backend {
 public:
  Granting(Device device, bool grants, int& alive) : device_(device), grants_(grants), alive_(alive) {
    ++alive_;
  }
  ~Granting() override { --alive_; }
  Device device() const override { return device_; }
  bool in_host_memory() const override { return false; }
  void allocate(uint64_t bytes) override {
    if (!grants_) throw Error(ErrorCode::out_of_memory, "the second device is full");
    arena_.resize(bytes);
    granted = true;
  }
  std::span<std::byte> host_arena() override { return arena_; }
  UploadQueue* upload_queue() override { return nullptr; }
  void read_back(uint64_t /*arena_offset*/, std::span<std::byte> /*into*/) override {}
  uint64_t hash_range(uint64_t /*arena_offset*/, uint64_t /*bytes*/, uint64_t /*first_word*/) override {
    return 0;
  }
  static inline bool granted = false;

 private:
  Device device_;
  bool grants_;
  int& alive_;
  std::vector<std::byte> arena_;
};

TEST_CASE("a second device that is full ends the load, and the first one's memory is given back") {
  const SyntheticModel synthetic(
      {{.device = Device::gpu(0), .elements = 1000}, {.device = Device::gpu(1), .elements = 1000}});
  int alive = 0;
  Granting::granted = false;
  const auto factory = [&](Device device) {
    return std::make_unique<Granting>(device, device == Device::gpu(0), alive);
  };
  try {
    execute(synthetic.plan, synthetic.checkpoint, factory, {});
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::out_of_memory);
    CHECK(error.message() == "the second device is full");
  }
  CHECK(Granting::granted);
  CHECK(alive == 0);
}

TEST_CASE("several GPUs share 64 MiB of pinned memory, down to 16 MiB each") {
  for (const auto& [gpus, mebibytes] : {std::pair{1, 64}, {2, 32}, {3, 20}, {4, 16}, {8, 16}}) {
    const RingSize ring = cuda_ring(static_cast<uint64_t>(gpus));
    CHECK(ring.slots * ring.slot_bytes == static_cast<uint64_t>(mebibytes) << 20);
    CHECK(ring.slot_bytes == 4 << 20);
  }
}

}  // namespace
}  // namespace hfload::test
