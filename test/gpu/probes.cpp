// Times loads to GPU 0 beside the bus itself. Prints rows of a Markdown table. Usage: hfload_gpu_probes
// DIRECTORY GIB: a file of that size is made in DIRECTORY, read once (so that it is in the page cache), and
// removed at the end.
#include <cuda_runtime_api.h>
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/load/cuda_check.h"
#include "core/load/loader.h"
#include "core/load/query_devices.h"

namespace hfload::test {
namespace {

constexpr uint64_t kBlockBytes = 4 << 20;
constexpr int kRounds = 7;

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// Pinned memory to the device in blocks of 4 MiB: what no load can exceed.
double time_bus(uint64_t bytes) {
  void* host = nullptr;
  void* device = nullptr;
  check_cuda(cudaMallocHost(&host, kBlockBytes), "cudaMallocHost", 0);
  check_cuda(cudaMalloc(&device, kBlockBytes), "cudaMalloc", 0);
  const double seconds = seconds_of([&] {
    for (uint64_t done = 0; done < bytes; done += kBlockBytes) {
      check_cuda(cudaMemcpyAsync(device, host, kBlockBytes, cudaMemcpyHostToDevice, nullptr),
                 "cudaMemcpyAsync", 0);
    }
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize", 0);
  });
  cudaFree(device);
  cudaFreeHost(host);
  return seconds;
}

/// A checkpoint of one shard that exists on the disk, without a header: its tensors are `tensors` equal
/// parts.
struct Model {
  Checkpoint checkpoint;
  LoadPlan plan;
};

Model make_model(const std::filesystem::path& file, uint64_t bytes, uint32_t tensors, Dtype from, Dtype to) {
  Model model;
  model.checkpoint.location.directory = file.parent_path();
  model.checkpoint.location.weights_path = file;
  Shard shard;
  shard.file = file.filename();
  shard.identity = open_regular_file(file).identity;
  model.checkpoint.shards.push_back(shard);
  const uint64_t each = bytes / tensors / 256 * 256;
  const uint64_t in_memory = each / (dtype_info(from).bits / 8) * (dtype_info(to).bits / 8);
  for (uint32_t i = 0; i < tensors; ++i) {
    CheckpointTensor tensor;
    tensor.name = fmt::format("tensor.{}", i);
    tensor.dtype = from;
    tensor.begin = each * i;
    tensor.end = tensor.begin + each;
    model.checkpoint.tensors.push_back(tensor);
    model.plan.placements.push_back({.tensor = i,
                                     .checkpoint = i,
                                     .arena_offset = in_memory * i,
                                     .bytes = in_memory,
                                     .device = Device::gpu(0),
                                     .dtype = to});
    model.plan.copies.push_back({0, i, tensor.begin, each});
  }
  model.plan.arenas.push_back({Device::gpu(0), in_memory * tensors});
  model.plan.copied_file_bytes = each * tensors;
  return model;
}

double time_load(const Model& model) {
  return execute(model.plan, model.checkpoint,
                 [](Device device) { return make_cuda_backend(device.ordinal); }, {})
      .statistics.seconds;
}

void write_random(const std::filesystem::path& file, uint64_t bytes) {
  std::mt19937_64 random(1);
  std::vector<uint64_t> block(kBlockBytes / 8);
  for (uint64_t& word : block)
    word = random() & 0x3fff'3fff'3fff'3fff;  // neither NaN nor infinity, in any dtype
  std::ofstream out(file, std::ios::binary);
  for (uint64_t done = 0; done < bytes; done += kBlockBytes) {
    block[done / kBlockBytes % block.size()] = done;
    out.write(reinterpret_cast<const char*>(block.data()), static_cast<std::streamsize>(kBlockBytes));
  }
  if (!out.flush())
    throw Error(ErrorCode::io_error, "the file for the benchmark cannot be written").with_path(file);
}

void run(const std::filesystem::path& directory, uint64_t bytes) {
  struct Case {
    const char* name;
    uint32_t tensors;
    Dtype from, to;
  };
  constexpr Case kCases[] = {{"load, 100 tensors", 100, Dtype::bf16, Dtype::bf16},
                             {"load, 20,000 tensors", 20'000, Dtype::bf16, Dtype::bf16},
                             {"load, bfloat16 to float32 on the GPU", 100, Dtype::bf16, Dtype::f32},
                             {"load, float32 to bfloat16 on the GPU", 100, Dtype::f32, Dtype::bf16}};
  const std::filesystem::path file = directory / "hfload-gpu-probe.bin";
  write_random(file, bytes);
  time_bus(kBlockBytes);  // the context is made outside of all timings
  for (const Case& c : kCases) {
    const Model model = make_model(file, bytes, c.tensors, c.from, c.to);
    std::vector<double> rates;
    std::vector<double> parts;
    time_load(model);
    for (int round = 0; round < kRounds; ++round) {
      const double bus = time_bus(bytes);
      const double load = time_load(model);
      rates.push_back(static_cast<double>(bytes) / load / 1e9);
      parts.push_back(bus / load);
    }
    fmt::print("| {} | {:.2f} GB/s, {:.2f} of the pinned-copy probe of the same round (medians of {}) |\n",
               c.name, median(rates), median(parts), kRounds);
  }
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace hfload::test

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: hfload_gpu_probes DIRECTORY GIB\n");
    return 2;
  }
  const hfload::CudaStatus status = hfload::cuda_status();
  if (status.devices == 0) {
    fmt::print("skipped: {}\n", status.reason);
    return 77;
  }
  try {
    hfload::test::run(std::filesystem::absolute(argv[1]), std::strtoull(argv[2], nullptr, 10) << 30);
  } catch (const hfload::Error& error) {
    fmt::print(stderr, "{} {}\n", error.message(), error.path());
    return 1;
  }
  return 0;
}
