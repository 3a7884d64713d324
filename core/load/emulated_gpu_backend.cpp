#include <fmt/core.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/base/error.h"
#include "core/base/units.h"
#include "core/load/backend.h"
#include "core/load/host_memory.h"
#include "core/load/staging_ring.h"
#include "kernels/hash.h"

namespace hfload {
namespace {

constexpr uint32_t kSlots = kEmulatedGpuRing.slots;
constexpr uint64_t kSlotBytes = kEmulatedGpuRing.slot_bytes;

/// A thread that copies from slots to an arena, one submission after the other, as a GPU's copy engine does.
class EmulatedCopyEngine final : public UploadQueue {
 public:
  explicit EmulatedCopyEngine(std::span<std::byte> arena)
      : arena_(arena),
        pages_(arena),
        staging_(kSlots * kSlotBytes),
        done_(kSlots, true),
        ring_(staging_.bytes(), kSlots, [this](uint32_t index) { wait_until_copied(index); }),
        thread_([this] { run(); }) {}

  ~EmulatedCopyEngine() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  uint64_t slot_bytes() const override { return kSlotBytes; }
  StagingSlot acquire() override { return ring_.acquire(); }
  void release(StagingSlot slot) override { ring_.release(slot.index); }
  void synchronize() override { ring_.drain(); }

  void submit(StagingSlot slot, std::span<const Upload> uploads) override {
    {
      const std::lock_guard lock(mutex_);
      done_[slot.index] = false;
      submissions_.push_back({slot, {uploads.begin(), uploads.end()}});
      ring_.submitted(slot.index);
    }
    changed_.notify_all();
  }

 private:
  struct Submission {
    StagingSlot slot;
    std::vector<Upload> uploads;
  };

  void wait_until_copied(uint32_t index) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_[index]; });
  }

  void run() {
    while (const std::optional<Submission> submission = next()) {
      for (const Upload& upload : submission->uploads) copy(submission->slot, upload);
      {
        const std::lock_guard lock(mutex_);
        done_[submission->slot.index] = true;
      }
      changed_.notify_all();
    }
  }

  std::optional<Submission> next() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stop_ || !submissions_.empty(); });
    if (stop_) return std::nullopt;
    Submission submission = std::move(submissions_.front());
    submissions_.pop_front();
    return submission;
  }

  void copy(const StagingSlot& slot, const Upload& upload) {
    pages_.prepare(upload.arena_offset, upload_target_bytes(upload));
    const std::span<const std::byte> source = slot.bytes.subspan(upload.slot_offset, upload.file_bytes);
    const std::span<std::byte> target = arena_.subspan(upload.arena_offset, upload_target_bytes(upload));
    cast(upload.cast, source.data(), target.data(), source.size() / cast_source_bytes(upload.cast));
  }

  std::span<std::byte> arena_;
  FreshPages pages_;
  HostMemory staging_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Submission> submissions_;
  std::vector<bool> done_;  ///< by slot
  bool stop_ = false;
  StagingRing ring_;
  std::thread thread_;
};

class EmulatedGpuBackend final : public Backend {
 public:
  EmulatedGpuBackend(uint32_t ordinal, uint64_t budget_bytes)
      : ordinal_(ordinal), budget_bytes_(budget_bytes) {}

  Device device() const override { return Device::gpu(ordinal_); }
  bool in_host_memory() const override { return true; }

  void allocate(uint64_t bytes) override {
    if (bytes > budget_bytes_) {
      throw Error(
          ErrorCode::out_of_memory,
          fmt::format("the emulated GPU {} has {} ({} bytes); the weights placed there need {} ({} bytes)",
                      ordinal_, format_byte_size(static_cast<double>(budget_bytes_)), budget_bytes_,
                      format_byte_size(static_cast<double>(bytes)), bytes))
          .with_hint("Raise the device's budget in --max-memory, or place less on it.");
    }
    arena_ = HostMemory(bytes);
    engine_ = std::make_unique<EmulatedCopyEngine>(arena_.bytes());
  }

  std::span<std::byte> host_arena() override { return {}; }
  UploadQueue* upload_queue() override { return engine_.get(); }

  void read_back(uint64_t arena_offset, std::span<std::byte> into) override {
    const std::span<const std::byte> from = arena_.bytes().subspan(arena_offset, into.size());
    std::ranges::copy(from, into.begin());  // either may be empty, which memcpy does not allow
  }

  uint64_t hash_range(uint64_t arena_offset, uint64_t bytes, uint64_t first_word) override {
    return hash_part(arena_.bytes().subspan(arena_offset, bytes).data(), bytes, first_word);
  }

 private:
  uint32_t ordinal_;
  uint64_t budget_bytes_;
  HostMemory arena_;
  std::unique_ptr<EmulatedCopyEngine> engine_;
};

}  // namespace

std::unique_ptr<Backend> make_emulated_gpu_backend(uint32_t ordinal, uint64_t budget_bytes) {
  return std::make_unique<EmulatedGpuBackend>(ordinal, budget_bytes);
}

}  // namespace hfload
