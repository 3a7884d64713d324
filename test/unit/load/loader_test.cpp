#include "core/load/loader.h"

#include <sys/resource.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "core/base/error.h"
#include "core/load/host_memory.h"
#include "test/unit/load/synthetic_model.h"

namespace hfload::test {
namespace {

LoadedModel load(const SyntheticModel& model, const LoadOptions& options = {}) {
  return execute(model.plan, model.checkpoint, emulated_devices(model.plan), options);
}

/// The error that a call throws.
template <class Call>
Error error_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  throw std::runtime_error("no error was thrown");
}

TEST_CASE("every tensor arrives on its device, cast where its dtype changes") {
  for (const uint64_t alignment : {256, 1}) {
    const SyntheticModel synthetic(mixed_tensors(), alignment);
    for (const unsigned threads : {1U, 2U, 7U}) {
      const LoadedModel model = load(synthetic, {.threads = threads});
      CHECK(synthetic.wrong_tensors(model).empty());
      CHECK(model.backends.size() == 3);
      CHECK(model.statistics.threads == threads);
      uint64_t bytes = 0;
      uint64_t disk_bytes = 0;
      for (const TensorPlacement& placement : model.plan.placements) {
        (placement.device.kind == Device::Kind::disk ? disk_bytes : bytes) += placement.bytes;
      }
      CHECK(model.statistics.loaded_bytes == bytes);
      CHECK(model.statistics.offloaded_bytes == disk_bytes);
      CHECK(model.statistics.read_bytes >= model.plan.copied_file_bytes);
      CHECK(model.statistics.seconds > 0);
    }
  }
}

TEST_CASE("every tensor arrives on every path of reading") {
  const SyntheticModel synthetic(mixed_tensors());
  for (const ReadPath path : {ReadPath::pread, ReadPath::mapping, ReadPath::direct}) {
    // A temporary directory may be in memory, which has no direct reads.
    if (path == ReadPath::direct && !open_direct(open_regular_file(synthetic.path(0)))) continue;
    const LoadedModel model = load(synthetic, {.threads = 3, .read_path = path});
    CHECK(synthetic.wrong_tensors(model).empty());
    const ReadStatistics& reads = model.statistics.reads;
    CHECK(reads.buffered_bytes + reads.direct_bytes + reads.mapped_bytes == model.statistics.read_bytes);
  }
}

TEST_CASE("large tensors that narrow or widen on their way to a GPU arrive among others") {
  std::vector<SyntheticTensor> tensors;
  for (const auto& [from, to] : {std::pair{Dtype::f32, Dtype::bf16},
                                 {Dtype::bf16, Dtype::f32},
                                 {Dtype::f32, Dtype::f16},
                                 {Dtype::u8, Dtype::u8},
                                 {Dtype::f32, Dtype::f16}}) {
    for (const uint64_t elements : {3'000'001, 1, 70'000}) {
      tensors.push_back({.device = Device::gpu(0),
                         .elements = elements,
                         .file_dtype = from,
                         .memory_dtype = to,
                         .gap_before = elements % 7});
    }
  }
  for (const uint64_t alignment : {256, 1}) {
    const SyntheticModel synthetic(tensors, alignment);
    CHECK(synthetic.wrong_tensors(load(synthetic)).empty());
  }
}

TEST_CASE("many small tensors arrive") {
  std::vector<SyntheticTensor> tensors;
  for (uint32_t i = 0; i < 20'000; ++i) {
    tensors.push_back(
        {.device = i < 10'000 ? Device::cpu() : Device::gpu(0), .elements = i % 97, .shard = i / 15'000});
  }
  const SyntheticModel synthetic(tensors);
  CHECK(synthetic.wrong_tensors(load(synthetic)).empty());
}

TEST_CASE("a plan without tensors is carried out") {
  SyntheticModel synthetic({{.device = Device::cpu(), .elements = 1}});
  synthetic.plan = {};
  const LoadedModel model = load(synthetic);
  CHECK(model.backends.empty());
  CHECK(model.statistics.loaded_bytes == 0);
}

TEST_CASE("a model wholly on the disk is mapped, not read") {
  const SyntheticModel synthetic({{.device = Device::disk(), .elements = 100'000},
                                  {.device = Device::disk(), .elements = 5, .shard = 1}});
  const LoadedModel model = load(synthetic);
  CHECK(synthetic.wrong_tensors(model).empty());
  CHECK(model.statistics.read_bytes == 0);
  CHECK(model.statistics.offloaded_bytes == 100'005);
}

TEST_CASE("progress grows to the total, from one thread at a time") {
  const SyntheticModel synthetic(mixed_tensors());
  std::atomic<int> inside{0};
  std::atomic<bool> several{false};
  std::vector<LoadProgress> reports;
  // Slow enough that another report is due while one is being made.
  const auto report = [&](const LoadProgress& progress) {
    if (inside.fetch_add(1) != 0) several = true;
    reports.push_back(progress);
    if (reports.size() < 3) std::this_thread::sleep_for(std::chrono::milliseconds(250));
    inside.fetch_sub(1);
  };
  const auto slowly = [] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    return false;
  };
  load(synthetic, {.threads = 4, .progress = report, .interrupted = slowly});
  CHECK_FALSE(several);
  REQUIRE(reports.size() >= 2);
  for (size_t i = 1; i < reports.size(); ++i) CHECK(reports[i].done_bytes >= reports[i - 1].done_bytes);
  CHECK(reports.back().done_bytes == synthetic.plan.copied_file_bytes);
  CHECK(reports.back().total_bytes == synthetic.plan.copied_file_bytes);
}

TEST_CASE("an interruption ends the load") {
  const SyntheticModel synthetic(mixed_tensors());
  for (const int after : {0, 1, 20}) {
    for (const unsigned threads : {1U, 4U}) {
      std::atomic<int> looks{0};
      CHECK_THROWS_AS(load(synthetic, {.threads = threads, .interrupted = [&] { return looks++ >= after; }}),
                      Interrupted);
    }
  }
}

TEST_CASE("an exception of the caller's own ends the load") {
  const SyntheticModel synthetic(mixed_tensors());
  CHECK_THROWS_WITH(
      load(synthetic, {.progress = [](const LoadProgress&) { throw std::runtime_error("the caller's"); }}),
      "the caller's");
}

TEST_CASE("a shard that does not exist is named") {
  const SyntheticModel synthetic(mixed_tensors());
  std::filesystem::remove(synthetic.path(1));
  const Error error = error_of([&] { load(synthetic); });
  CHECK(error.code() == ErrorCode::shard_missing);
  CHECK(error.path() == synthetic.path(1));
}

TEST_CASE("a shard of another size than its header was checked against is refused") {
  const SyntheticModel synthetic(mixed_tensors());
  for (const int change : {-1, 1}) {
    std::filesystem::resize_file(synthetic.path(0),
                                 synthetic.contents(0).size() + static_cast<size_t>(change));
    const Error error = error_of([&] { load(synthetic); });
    CHECK(error.code() == ErrorCode::changed_during_read);
    CHECK(error.path() == synthetic.path(0));
  }
}

/// A change of a shard that leaves its size as it was, after its header was read.
void change_shard(const SyntheticModel& synthetic, std::string_view how) {
  const std::string path = synthetic.path(0);
  const auto time = std::filesystem::last_write_time(path);
  if (how == "rewritten in place") {
    std::fstream(path, std::ios::in | std::ios::out | std::ios::binary) << "other bytes";
    // The clock of files may stand still for milliseconds.
    std::filesystem::last_write_time(path, time + std::chrono::seconds(1));
    return;
  }
  const std::string replacement = path + ".new";
  std::ofstream(replacement, std::ios::binary) << std::string(synthetic.contents(0).size(), 'x');
  if (how == "replaced, with its time") std::filesystem::last_write_time(replacement, time);
  std::filesystem::rename(replacement, path);
}

TEST_CASE("a shard that was replaced or rewritten after its header was read is refused, whatever its size") {
  for (const std::string_view how : {"replaced", "replaced, with its time", "rewritten in place"}) {
    INFO(how);
    for (const Device device : {Device::cpu(), Device::gpu(0), Device::disk()}) {
      const SyntheticModel synthetic({{.device = device, .elements = 1000}});
      CHECK_NOTHROW(load(synthetic));
      change_shard(synthetic, how);
      const Error error = error_of([&] { load(synthetic); });
      CHECK(error.code() == ErrorCode::changed_during_read);
      CHECK(error.path() == synthetic.path(0));
      CHECK_FALSE(error.hint().empty());
    }
  }
}

TEST_CASE("a shard that is replaced between loading and verifying is refused") {
  const SyntheticModel synthetic({{.device = Device::cpu(), .elements = 1000}});
  const LoadedModel model =
      execute(synthetic.plan, synthetic.checkpoint, emulated_devices(synthetic.plan), {});
  change_shard(synthetic, "replaced");
  const Error error = error_of([&] { verify(model, synthetic.checkpoint, {}); });
  CHECK(error.code() == ErrorCode::changed_during_read);
}

TEST_CASE("a shard that is truncated during the load is an error that names file, tensor and offset") {
  const SyntheticModel synthetic({{.device = Device::cpu(), .elements = 40'000'000}});
  std::atomic<int> looks{0};
  const Error error = error_of([&] {
    load(synthetic, {.threads = 2, .interrupted = [&] {
                       if (looks++ == 3) std::filesystem::resize_file(synthetic.path(0), 30'000'000);
                       return false;
                     }});
  });
  CHECK(error.code() == ErrorCode::changed_during_read);
  CHECK(error.path() == synthetic.path(0));
  CHECK(error.tensor() == "checkpoint.tensor.0");
  REQUIRE(error.offset());
  CHECK(*error.offset() >= 30'000'000);
}

TEST_CASE("a shard that is rewritten during the load is noticed") {
  const SyntheticModel synthetic(mixed_tensors());
  std::atomic<int> looks{0};
  const Error error = error_of([&] {
    load(synthetic, {.interrupted = [&] {
           if (looks++ == 3) {
             std::fstream file(synthetic.path(0), std::ios::in | std::ios::out | std::ios::binary);
             file << "other bytes";
           }
           return false;
         }});
  });
  CHECK(error.code() == ErrorCode::changed_during_read);
}

TEST_CASE("a device that is too small ends the load before anything is read") {
  const SyntheticModel synthetic(mixed_tensors());
  int looks = 0;
  const auto factory = [&](Device device) {
    return device.is_gpu() ? make_emulated_gpu_backend(device.ordinal, 1000) : make_host_backend();
  };
  const Error error = error_of([&] {
    execute(synthetic.plan, synthetic.checkpoint, factory,
            {.threads = 1, .interrupted = [&] { return ++looks < 0; }});
  });
  CHECK(error.code() == ErrorCode::out_of_memory);
  CHECK(looks == 0);
}

TEST_CASE("arenas that together want more than the host has are refused") {
  SyntheticModel synthetic(
      {{.device = Device::cpu(), .elements = 10}, {.device = Device::gpu(0), .elements = 10}});
  const std::optional<uint64_t> available = available_host_bytes();
  REQUIRE(available);
  for (Arena& arena : synthetic.plan.arenas) arena.bytes = *available / 4 * 3;
  const Error error = error_of([&] { load(synthetic); });
  CHECK(error.code() == ErrorCode::out_of_memory);
  CHECK_FALSE(error.hint().empty());
}

/// A device with two slots whose nth submission fails.
class FailingBackend final : public Backend, private UploadQueue {
 public:
  /// The first two slots are handed out once `crowd` readers want one, after `when_crowded` was called.
  explicit FailingBackend(int good_submissions, int crowd = 0, std::function<void()> when_crowded = nullptr,
                          ErrorCode code = ErrorCode::cuda_error)
      : left_(good_submissions), crowd_(crowd), when_crowded_(std::move(when_crowded)), code_(code) {}
  ~FailingBackend() override { CHECK(free_.size() == 2); }  // every slot went back
  Device device() const override { return Device::gpu(0); }
  bool in_host_memory() const override { return false; }
  void allocate(uint64_t /*bytes*/) override {}
  std::span<std::byte> host_arena() override { return {}; }
  UploadQueue* upload_queue() override { return this; }
  void read_back(uint64_t /*arena_offset*/, std::span<std::byte> /*into*/) override {}
  uint64_t hash_range(uint64_t /*arena_offset*/, uint64_t /*bytes*/, uint64_t /*first_word*/) override {
    return 0;
  }

 private:
  uint64_t slot_bytes() const override { return kBytes; }
  StagingSlot acquire() override {
    std::unique_lock lock(mutex_);
    if (++readers_ == crowd_) when_crowded_();
    changed_.notify_all();
    const auto ready = [this] { return readers_ >= crowd_ && (!free_.empty() || failed_); };
    if (!changed_.wait_for(lock, std::chrono::seconds(20), ready))
      throw std::runtime_error("a slot was lost");
    if (failed_) throw Error(code_, "the copy engine failed");
    const uint32_t index = free_.back();
    free_.pop_back();
    return {std::span(memory_).subspan(index * kBytes, kBytes), index};
  }
  void submit(StagingSlot slot, std::span<const Upload> /*uploads*/) override {
    release(slot);
    const std::lock_guard lock(mutex_);
    if (left_-- > 0) return;
    failed_ = true;
    changed_.notify_all();
    throw Error(code_, "the copy engine failed");
  }
  void release(StagingSlot slot) override {
    const std::lock_guard lock(mutex_);
    free_.push_back(slot.index);
    changed_.notify_all();
  }
  void synchronize() override {}

  static constexpr size_t kBytes = 1 << 16;
  std::vector<std::byte> memory_ = std::vector<std::byte>(2 * kBytes);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<uint32_t> free_{0, 1};
  int left_;
  int crowd_;
  std::function<void()> when_crowded_;
  ErrorCode code_;
  int readers_ = 0;
  bool failed_ = false;
};

TEST_CASE("a failing device ends the load with its error, whatever the number of readers") {
  const SyntheticModel synthetic({{.device = Device::gpu(0), .elements = 5'000'000}});
  for (const unsigned threads : {1U, 6U}) {
    for (const int good : {0, 5}) {
      // A kernel's scratch may not fit on the device any more.
      for (const ErrorCode code : {ErrorCode::cuda_error, ErrorCode::out_of_memory}) {
        const auto factory = [&](Device) { return std::make_unique<FailingBackend>(good, 0, nullptr, code); };
        const Error error =
            error_of([&] { execute(synthetic.plan, synthetic.checkpoint, factory, {.threads = threads}); });
        CHECK(error.code() == code);
      }
    }
  }
}

TEST_CASE("a failing read gives its slot back, so that other readers do not wait for it") {
  // The file is truncated when two readers are about to have the only slots and four wait.
  const SyntheticModel synthetic({{.device = Device::gpu(0), .elements = 5'000'000}});
  const auto truncate = [&] { std::filesystem::resize_file(synthetic.path(0), 10); };
  const auto factory = [&](Device) { return std::make_unique<FailingBackend>(1 << 30, 6, truncate); };
  const Error error =
      error_of([&] { execute(synthetic.plan, synthetic.checkpoint, factory, {.threads = 6}); });
  CHECK(error.code() == ErrorCode::changed_during_read);
}

TEST_CASE("more shards than a process may have files open are loaded") {
  std::vector<SyntheticTensor> tensors;
  for (uint32_t shard = 0; shard < 600; ++shard)
    tensors.push_back({.device = Device::cpu(), .elements = 50, .shard = shard});
  const SyntheticModel synthetic(tensors);
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
  rlimit low = before;
  low.rlim_cur = 400;
  REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
  std::vector<std::string> wrong{"not loaded"};
  uint64_t compared = 0;
  try {
    const LoadedModel model = load(synthetic);
    wrong = synthetic.wrong_tensors(model);
    compared = verify(model, synthetic.checkpoint, {}).compared_bytes;
  } catch (const Error& error) {
    wrong = {error.message()};
  }
  setrlimit(RLIMIT_NOFILE, &before);
  CHECK(wrong.empty());
  CHECK(compared == 600 * 50);
}

#if !defined(HFLOAD_SANITIZED)
uint64_t anonymous_bytes() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8)) * 1024;
  }
  return 0;
}

TEST_CASE("a load takes little more memory than the model") {
  std::vector<SyntheticTensor> tensors;
  for (uint32_t i = 0; i < 8; ++i) {
    tensors.push_back({.device = i % 2 == 0 ? Device::cpu() : Device::gpu(0), .elements = 8 << 20});
    tensors.push_back({.device = Device::cpu(),
                       .elements = 1 << 20,
                       .file_dtype = Dtype::bf16,
                       .memory_dtype = Dtype::f32});
  }
  const SyntheticModel synthetic(tensors);
  uint64_t arenas = 0;
  for (const Arena& arena : synthetic.plan.arenas) arenas += arena.bytes;
  const uint64_t before = anonymous_bytes();
  std::atomic<uint64_t> peak{0};
  const LoadedModel model =
      load(synthetic, {.threads = 16, .interrupted = [&] {
                         uint64_t known = peak;
                         const uint64_t now = anonymous_bytes();
                         while (now > known && !peak.compare_exchange_weak(known, now)) {
                         }
                         return false;
                       }});
  const uint64_t most = std::max(peak.load(), anonymous_bytes());
  CHECK(most >= before + arenas);
  CHECK(most <= before + arenas + (32 << 20));
}
#endif

}  // namespace
}  // namespace hfload::test
