#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "core/base/error.h"
#include "core/load/loader.h"
#include "kernels/hash.h"
#include "test/unit/load/synthetic_model.h"

namespace hfload::test {
namespace {

LoadedModel load(const SyntheticModel& model) {
  return execute(model.plan, model.checkpoint, emulated_devices(model.plan), {});
}

/// Changes one byte of a shard, as a faulty disk does: the file's time stays.
void flip(const SyntheticModel& model, uint32_t shard, uint64_t offset) {
  const std::string path = model.path(shard);
  const auto time = std::filesystem::last_write_time(path);
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(model.contents(shard)[offset] ^ std::byte{0x40}));
  }
  std::filesystem::last_write_time(path, time);
}

std::optional<Error> difference(const SyntheticModel& synthetic, const LoadedModel& model,
                                unsigned threads = 2) {
  try {
    verify(model, synthetic.checkpoint, {.threads = threads});
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

TEST_CASE("a loaded model verifies, every byte of it") {
  const SyntheticModel synthetic(mixed_tensors());
  const LoadedModel model = load(synthetic);
  uint64_t bytes = 0;
  for (const TensorPlacement& placement : model.plan.placements) bytes += placement.bytes;
  uint64_t done = 0;
  CHECK(verify(model, synthetic.checkpoint,
               {.threads = 3, .progress = [&](const LoadProgress& progress) { done = progress.done_bytes; }})
            .compared_bytes == bytes);
  CHECK(done == model.plan.copied_file_bytes + model.plan.disk_bytes);
}

TEST_CASE("a byte that differs from the file is found on every device, first and last, with its place") {
  const std::vector<SyntheticTensor> tensors{
      {.device = Device::cpu(), .elements = 3'000'000},
      {.device = Device::gpu(0), .elements = 3'000'000, .gap_before = 100},
      {.device = Device::gpu(1), .elements = 700'000, .file_dtype = Dtype::f32, .memory_dtype = Dtype::bf16},
      {.device = Device::cpu(),
       .elements = 700'000,
       .file_dtype = Dtype::f16,
       .memory_dtype = Dtype::f32,
       .shard = 1}};
  for (size_t tensor = 0; tensor < tensors.size(); ++tensor) {
    for (const bool last : {false, true}) {
      const SyntheticModel synthetic(tensors);
      const LoadedModel model = load(synthetic);
      const CheckpointTensor& entry = synthetic.checkpoint.tensors[tensor];
      const uint64_t width = dtype_info(entry.dtype).bits / 8;
      // The most significant byte of an element, so that rounding does not hide the change.
      const uint64_t in_tensor = last ? entry.bytes() - 1 : width - 1;
      const uint64_t offset = synthetic.checkpoint.shards[entry.shard].data_start + entry.begin + in_tensor;
      flip(synthetic, entry.shard, offset);
      const std::optional<Error> error = difference(synthetic, model);
      REQUIRE(error);
      CHECK(error->code() == ErrorCode::verify_failed);
      CHECK(error->exit_status() == 1);
      CHECK(error->tensor() == entry.name);
      CHECK(error->path() == synthetic.path(entry.shard));
      REQUIRE(error->offset());
      CHECK(*error->offset() / width * width <= offset);
      CHECK(offset - *error->offset() < width);
    }
  }
}

TEST_CASE("the checksums are those of the tensors' bytes in memory, on every device") {
  const SyntheticModel synthetic(mixed_tensors());
  const LoadedModel model = load(synthetic);
  for (const unsigned threads : {1U, 5U}) {
    const Verification verification = verify(model, synthetic.checkpoint, {.threads = threads});
    REQUIRE(verification.hashes.size() == synthetic.plan.placements.size());
    for (size_t i = 0; i < verification.hashes.size(); ++i) {
      const TensorPlacement& placement = synthetic.plan.placements[i];
      const std::vector<std::byte> bytes = synthetic.expected(placement);
      CHECK(verification.hashes[i].tensor == placement.tensor);
      CHECK(verification.hashes[i].hash ==
            hash_of_sum(hash_part(bytes.data(), bytes.size(), 0), bytes.size()));
    }
  }
}

TEST_CASE("of many differences the first is reported") {
  const SyntheticModel synthetic({{.device = Device::cpu(), .elements = 20'000'000}});
  const LoadedModel model = load(synthetic);
  for (uint64_t at = 7'000'123; at < 20'000'000; at += 100'000) {
    model.backends[0]->host_arena()[at] ^= std::byte{1};
  }
  for (int i = 0; i < 50; ++i) {
    const Error error = difference(synthetic, model, 8).value();
    CHECK(error.offset() == synthetic.checkpoint.shards[0].data_start + 7'000'123);
  }
}

/// Is late with the checksums of what lies behind a place.
class LateBackend final : public Backend {
 public:
  LateBackend(std::unique_ptr<Backend> backend, uint64_t late_from)
      : backend_(std::move(backend)), late_from_(late_from) {}
  Device device() const override { return backend_->device(); }
  bool in_host_memory() const override { return backend_->in_host_memory(); }
  void allocate(uint64_t bytes) override { backend_->allocate(bytes); }
  std::span<std::byte> host_arena() override { return backend_->host_arena(); }
  UploadQueue* upload_queue() override { return backend_->upload_queue(); }
  void read_back(uint64_t arena_offset, std::span<std::byte> into) override {
    backend_->read_back(arena_offset, into);
  }
  uint64_t hash_range(uint64_t arena_offset, uint64_t bytes, uint64_t first_word) override {
    if (arena_offset >= late_from_) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return backend_->hash_range(arena_offset, bytes, first_word);
  }

 private:
  std::unique_ptr<Backend> backend_;
  uint64_t late_from_;
};

TEST_CASE("a later difference that is found afterwards is not reported in the place of the first") {
  const SyntheticModel synthetic({{.device = Device::cpu(), .elements = 8 << 20}});
  LoadedModel model = load(synthetic);
  constexpr uint64_t kFirst = (2 << 20) + 5;
  for (const uint64_t at : {kFirst, uint64_t{3} << 20, uint64_t{5} << 20})
    model.backends[0]->host_arena()[at] ^= std::byte{1};
  model.backends[0] = std::make_unique<LateBackend>(std::move(model.backends[0]), 3 << 20);
  CHECK(difference(synthetic, model, 8).value().offset() ==
        synthetic.checkpoint.shards[0].data_start + kFirst);
}

TEST_CASE("bytes between tensors do not matter") {
  const SyntheticModel synthetic({{.device = Device::cpu(), .elements = 1000},
                                  {.device = Device::cpu(), .elements = 1000, .gap_before = 10}});
  const LoadedModel model = load(synthetic);
  flip(synthetic, 0, synthetic.checkpoint.shards[0].data_start + 1005);
  CHECK_FALSE(difference(synthetic, model));
}

TEST_CASE("an offloaded tensor is compared through its mapping") {
  const SyntheticModel synthetic({{.device = Device::disk(), .elements = 1000}});
  LoadedModel model = load(synthetic);
  CHECK(verify(model, synthetic.checkpoint, {}).compared_bytes == 1000);
  // A mapping of something else than the shard.
  const SyntheticModel other(
      {{.device = Device::cpu(), .elements = 500}, {.device = Device::disk(), .elements = 1000}});
  model.mappings = std::move(load(other).mappings);
  const std::optional<Error> error = difference(synthetic, model);
  REQUIRE(error);
  CHECK(error->code() == ErrorCode::verify_failed);
}

TEST_CASE("verification can be interrupted") {
  const SyntheticModel synthetic(mixed_tensors());
  const LoadedModel model = load(synthetic);
  CHECK_THROWS_AS(verify(model, synthetic.checkpoint, {.interrupted = [] { return true; }}), Interrupted);
}

}  // namespace
}  // namespace hfload::test
