#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>

#include "core/base/error.h"
#include "test/unit/load/synthetic_model.h"

namespace hfload::test {
namespace {

/// CUDA for GPU 0, an emulated GPU for the other that the plan names, the host's memory for the CPU.
std::unique_ptr<Backend> make_backend(Device device) {
  if (device == Device::gpu(0)) return make_cuda_backend(0);
  if (device.is_gpu()) return make_emulated_gpu_backend(device.ordinal, 1 << 30);
  return make_host_backend();
}

TEST_CASE("a model on a GPU, the CPU and the disk loads and verifies") {
  for (const uint64_t alignment : {256, 1}) {
    const SyntheticModel synthetic(mixed_tensors(), alignment);
    uint64_t bytes = 0;
    for (const TensorPlacement& placement : synthetic.plan.placements) bytes += placement.bytes;
    for (const unsigned threads : {1U, 8U}) {
      const LoadedModel model =
          execute(synthetic.plan, synthetic.checkpoint, make_backend, {.threads = threads});
      CHECK(synthetic.wrong_tensors(model).empty());
      CHECK(verify(model, synthetic.checkpoint, {}).compared_bytes == bytes);
    }
  }
}

TEST_CASE("many small tensors reach a GPU") {
  std::vector<SyntheticTensor> tensors;
  for (uint32_t i = 0; i < 20'000; ++i) {
    const bool converted = i % 3 == 0;
    tensors.push_back({.device = Device::gpu(0),
                       .elements = i % 97,
                       .file_dtype = converted ? Dtype::bf16 : Dtype::u8,
                       .memory_dtype = converted ? Dtype::f32 : Dtype::u8});
  }
  const SyntheticModel synthetic(tensors);
  CHECK(synthetic.wrong_tensors(execute(synthetic.plan, synthetic.checkpoint, make_backend, {})).empty());
}

TEST_CASE("a load that fails releases the GPU, and the next one works") {
  const SyntheticModel synthetic({{.device = Device::gpu(0), .elements = 100'000'000}});
  std::atomic<int> looks{0};
  CHECK_THROWS_AS(execute(synthetic.plan, synthetic.checkpoint, make_backend,
                          {.threads = 4, .interrupted = [&] { return looks++ > 10; }}),
                  Interrupted);
  CHECK(synthetic.wrong_tensors(execute(synthetic.plan, synthetic.checkpoint, make_backend, {})).empty());
  looks = 0;
  CHECK_THROWS_AS(execute(synthetic.plan, synthetic.checkpoint, make_backend,
                          {.threads = 4,
                           .interrupted =
                               [&] {
                                 if (looks++ == 10) std::filesystem::resize_file(synthetic.path(0), 1000);
                                 return false;
                               }}),
                  Error);
}

}  // namespace
}  // namespace hfload::test
