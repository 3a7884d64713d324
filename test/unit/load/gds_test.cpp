#include "core/load/gds.h"

#include <dlfcn.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/error.h"
#include "core/load/direct_reader.h"
#include "test/unit/load/synthetic_model.h"

namespace hfload::test {
namespace {

/// Files open in the fake library; it is loaded once in this process.
int open_handles() {
  void* const library = dlopen(HFLOAD_FAKE_CUFILE, RTLD_NOW);
  const int handles = reinterpret_cast<int (*)()>(dlsym(library, "fake_cufile_open_handles"))();
  dlclose(library);
  return handles;
}

class FailingAt {
 public:
  explicit FailingAt(const char* where) { setenv("FAKE_CUFILE_FAIL", where, 1); }
  ~FailingAt() { unsetenv("FAKE_CUFILE_FAIL"); }
};

/// A GPU in the host's memory, into which the fake library reads; conversions go through a ring as always.
class GdsBackend final : public Backend {
 public:
  GdsBackend(std::shared_ptr<GdsLibrary> gds, uint64_t bytes)
      : gds_(std::move(gds)), ring_(make_emulated_gpu_backend(0, bytes)) {}

  Device device() const override { return Device::gpu(0); }
  bool in_host_memory() const override { return true; }
  void allocate(uint64_t bytes) override {
    memory_.resize(bytes);
    direct_.resize(bytes);
    ring_->allocate(bytes);
  }
  std::span<std::byte> host_arena() override { return {}; }
  UploadQueue* upload_queue() override { return ring_->upload_queue(); }
  bool reads_files() const override { return true; }
  const GdsLibrary* gds() const override { return gds_.get(); }
  void read_file(const RegularFile& file, uint64_t file_offset, uint64_t arena_offset,
                 uint64_t bytes) override {
    gds_->read(file, file_offset, memory_.data(), arena_offset, bytes);
    std::fill_n(direct_.begin() + static_cast<std::ptrdiff_t>(arena_offset), bytes, true);
    direct_bytes += bytes;
  }
  void read_back(uint64_t arena_offset, std::span<std::byte> into) override {
    ring_->read_back(arena_offset, into);
    for (uint64_t i = 0; i < into.size(); ++i)
      if (direct_[arena_offset + i]) into[i] = memory_[arena_offset + i];
  }
  uint64_t hash_range(uint64_t /*arena_offset*/, uint64_t /*bytes*/, uint64_t /*first_word*/) override {
    return 0;
  }

  std::atomic<uint64_t> direct_bytes{0};

 private:
  std::shared_ptr<GdsLibrary> gds_;
  std::unique_ptr<Backend> ring_;
  std::vector<std::byte> memory_;
  std::vector<char> direct_;  ///< by byte: came from read_file
};

std::optional<Error> error_of_reading(const SyntheticModel& synthetic) {
  try {
    execute(synthetic.plan, synthetic.checkpoint,
            [&](Device) {
              return std::make_unique<GdsBackend>(std::make_shared<GdsLibrary>(HFLOAD_FAKE_CUFILE),
                                                  synthetic.plan.arenas[0].bytes);
            },
            {.threads = 2});
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

const std::vector<SyntheticTensor> kTensors{
    {.device = Device::gpu(0), .elements = 9'000'001},
    {.device = Device::gpu(0), .elements = 100},
    {.device = Device::gpu(0), .elements = 1'500'000, .file_dtype = Dtype::f32, .memory_dtype = Dtype::f16},
    {.device = Device::gpu(0), .elements = 5'000'000, .shard = 1, .gap_before = 777}};

TEST_CASE("large tensors are read by GPUDirect Storage, the others through the ring") {
  const SyntheticModel synthetic(kTensors);
  GdsBackend* gpu = nullptr;
  {
    const LoadedModel model =
        execute(synthetic.plan, synthetic.checkpoint,
                [&](Device) {
                  auto backend = std::make_unique<GdsBackend>(
                      std::make_shared<GdsLibrary>(HFLOAD_FAKE_CUFILE), synthetic.plan.arenas[0].bytes);
                  gpu = backend.get();
                  return backend;
                },
                {.threads = 3});
    CHECK(synthetic.wrong_tensors(model).empty());
    CHECK(gpu->direct_bytes >= 14'000'000);
    CHECK(gpu->direct_bytes <= 14'000'101);
    CHECK(open_handles() == 2);
    REQUIRE(model.statistics.gds);
    CHECK(model.statistics.gds->bytes == gpu->direct_bytes);
    CHECK(model.statistics.gds->mode == GdsLibrary::Mode::compatibility);
  }
  CHECK(open_handles() == 0);
}

TEST_CASE("GPUDirect Storage says whether it is real") {
  CHECK(GdsLibrary(HFLOAD_FAKE_CUFILE, "/nonexistent").mode() == GdsLibrary::Mode::compatibility);
  CHECK(GdsLibrary(HFLOAD_FAKE_CUFILE, "/proc").mode() == GdsLibrary::Mode::peer_to_peer);
}

TEST_CASE("files without direct reads are counted as read in compatibility mode") {
  const TempDirectory directory;
  const RegularFile direct = open_regular_file(directory.write("direct", std::string(10'000, 'd')));
  if (!open_direct(direct)) {
    WARN("skipped: the file system of temporary files has no direct reads");
    return;
  }
  // A regular file whose file system has none.
  const RegularFile buffered = open_regular_file("/proc/self/status");
  REQUIRE_FALSE(open_direct(buffered));
  using Mode = GdsLibrary::Mode;
  std::vector<std::byte> memory(10'000);
  const auto read = [&](GdsLibrary& gds, const RegularFile& file, uint64_t bytes) {
    gds.read(file, 0, memory.data(), 0, bytes);
    return gds.statistics();
  };
  {
    GdsLibrary gds(HFLOAD_FAKE_CUFILE, "/proc");
    CHECK(gds.statistics().mode == Mode::peer_to_peer);
    CHECK(gds.statistics().bytes == 0);
    CHECK(read(gds, direct, 10'000).mode == Mode::peer_to_peer);
    const GdsLibrary::Statistics both = read(gds, buffered, 40);
    CHECK(both.mode == Mode::mixed);
    CHECK(both.bytes == 10'040);
    CHECK(gds.mode() == Mode::peer_to_peer);
  }
  GdsLibrary all_buffered(HFLOAD_FAKE_CUFILE, "/proc");
  CHECK(read(all_buffered, buffered, 40).mode == Mode::compatibility);
  GdsLibrary no_driver(HFLOAD_FAKE_CUFILE, "/nonexistent");
  CHECK(read(no_driver, direct, 50).mode == Mode::compatibility);
  CHECK(read(no_driver, buffered, 40).mode == Mode::compatibility);
  CHECK(no_driver.statistics().bytes == 90);
}

TEST_CASE("a missing library, a driver, a file and a read that fail are errors") {
  CHECK_THROWS_AS(GdsLibrary("libnot-there.so.0"), Error);
  const SyntheticModel synthetic(kTensors);
  for (const auto& [where, code] : {std::pair{"driver", ErrorCode::no_cuda},
                                    {"register", ErrorCode::io_error},
                                    {"read", ErrorCode::io_error}}) {
    const FailingAt failing(where);
    const std::optional<Error> error = error_of_reading(synthetic);
    REQUIRE(error);
    CHECK(error->code() == code);
    CHECK(open_handles() == 0);
  }
  REQUIRE(truncate(synthetic.path(0).c_str(), 5'000'000) == 0);
  RegularFile file = open_regular_file(synthetic.path(0));
  std::vector<std::byte> memory(6'000'000);
  GdsLibrary gds(HFLOAD_FAKE_CUFILE);
  try {
    gds.read(file, 0, memory.data(), 0, 6'000'000);
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::changed_during_read);
    CHECK(error.offset() == 5'000'000);
  }
}

}  // namespace
}  // namespace hfload::test
