#include "core/run/gemm_bench.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "core/base/error.h"
#include "core/run/cublas.h"
#include "core/run/device_block.h"
#include "core/run/require_gpu.h"
#include "kernels/gemm_device.h"

namespace hfload {
namespace {

constexpr int kBlocks = 21;
constexpr double kSecondsPerBlock = 0.004;
constexpr int kMaxLaunches = 50;
/// Sets of operands are taken in turns until they are this large together, more than twice the L2 cache of an
/// H100; a decoder, too, meets each weight once a token.
constexpr int64_t kRotatedBytes = 256 << 20;
constexpr int64_t kMaxSets = 64;

/// Squares, then the projections of Llama 3 8B and Qwen2 7B from one token to a long prompt.
std::vector<GemmSize> sizes() {
  std::vector<GemmSize> all;
  for (const GemmDtype dtype : {GemmDtype::bf16, GemmDtype::f16}) {
    for (const int64_t size : {4096, 8192}) all.push_back({dtype, size, size, size});
  }
  constexpr std::pair<int64_t, int64_t> kWeights[] = {
      {4096, 4096}, {14336, 4096}, {4096, 14336}, {18944, 3584}, {512, 3584}};
  for (const int64_t m : {1, 4, 8, 16, 64, 128, 509, 2048}) {
    for (const auto& [n, k] : kWeights) all.push_back({GemmDtype::bf16, m, n, k});
  }
  for (const int64_t m : {1, 64, 512, 4096}) all.push_back({GemmDtype::f32, m, 4096, 4096});
  return all;
}

/// Events around a block of launches on the default stream.
class Stopwatch {
 public:
  explicit Stopwatch(uint32_t ordinal) : ordinal_(ordinal) {
    check_cuda(cudaEventCreate(&begin_), "cudaEventCreate", ordinal);
    check_cuda(cudaEventCreate(&end_), "cudaEventCreate", ordinal);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }

  double seconds(const std::function<void()>& work) {
    check_cuda(cudaEventRecord(begin_), "cudaEventRecord", ordinal_);
    work();
    check_cuda(cudaEventRecord(end_), "cudaEventRecord", ordinal_);
    check_cuda(cudaEventSynchronize(end_), "a block of products", ordinal_);
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime", ordinal_);
    return static_cast<double>(milliseconds) / 1000;
  }

 private:
  uint32_t ordinal_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

/// The operands of one size, as many sets of them as are to be rotated.
class Rotation {
 public:
  Rotation(const GemmSize& size, uint32_t ordinal) {
    const int64_t bytes = gemm_element_bytes(size.dtype);
    const auto set_bytes = static_cast<int64_t>(size.bytes());
    const int64_t sets = std::clamp<int64_t>(kRotatedBytes / set_bytes + 1, 4, kMaxSets);
    const std::vector<std::byte> numbers = random_gemm_elements(size.dtype);
    const auto add = [&](int64_t count) {
      DeviceBlock& block = blocks_.emplace_back(static_cast<size_t>(count * bytes), ordinal);
      for (size_t at = 0; at < block.bytes(); at += numbers.size()) {
        block.write(numbers.data(), std::min(numbers.size(), block.bytes() - at), at);
      }
      return block.data();
    };
    for (int64_t i = 0; i < sets; ++i) {
      void* const a = add(size.m * size.k);
      void* const b = add(size.n * size.k);
      gemms_.push_back(size.of(a, b, add(size.m * size.n)));
    }
  }

  const Gemm& next() { return gemms_[next_++ % gemms_.size()]; }

 private:
  std::vector<DeviceBlock> blocks_;
  std::vector<Gemm> gemms_;
  size_t next_ = 0;
};

/// One way to compute the products; `launch` is false where it refuses.
struct Rival {
  std::function<bool(const Gemm&)> launch;
  std::vector<double> seconds = {};
  bool works = true;
};

void run_block(Rival& rival, Rotation& rotation, int launches, Stopwatch& watch) {
  const double seconds = watch.seconds([&] {
    for (int i = 0; i < launches && rival.works; ++i) rival.works = rival.launch(rotation.next());
  });
  rival.seconds.push_back(seconds / launches);
}

/// The cublasLt way that is fastest in three short blocks; -1 where there is none.
int fastest_way(Cublas& cublas, Rotation& rotation, Stopwatch& watch) {
  const int ways = cublas.prepare_lt(rotation.next());
  int best = -1;
  double best_seconds = 0;
  for (int way = 0; way < ways; ++way) {
    Rival rival{[&, way](const Gemm& gemm) { return cublas.multiply_lt(gemm, way); }};
    for (int i = 0; i < 3; ++i) run_block(rival, rotation, 3, watch);
    const double seconds = median(rival.seconds);
    if (!rival.works || (best >= 0 && seconds >= best_seconds)) continue;
    best = way;
    best_seconds = seconds;
  }
  return best;
}

GemmTiming time_size(const GemmSize& size, const GemmDevice& device, uint32_t ordinal, Cublas& cublas) {
  Rotation rotation(size, ordinal);
  Stopwatch watch(ordinal);
  GemmTiming timing{.size = size};
  timing.plan = plan_gemm(rotation.next(), device);
  DeviceBlock workspace(static_cast<size_t>(timing.plan.workspace_bytes), ordinal);

  std::vector<Rival> rivals;
  rivals.push_back({[&](const Gemm& gemm) {
    check_cuda(static_cast<cudaError_t>(launch_gemm(gemm, timing.plan, workspace.data(), nullptr)),
               "the launch of a product", ordinal);
    return true;
  }});
  rivals.push_back({[&](const Gemm& gemm) { return cublas.multiply(gemm); }});
  const int way = fastest_way(cublas, rotation, watch);
  rivals.push_back({[&](const Gemm& gemm) { return way >= 0 && cublas.multiply_lt(gemm, way); }});

  for (Rival& rival : rivals) {  // warm-up, not counted
    run_block(rival, rotation, 5, watch);
    rival.seconds.clear();
  }
  run_block(rivals[0], rotation, 5, watch);
  const int launches = std::clamp(static_cast<int>(kSecondsPerBlock / rivals[0].seconds[0]), 3, kMaxLaunches);
  rivals[0].seconds.clear();
  for (int block = 0; block < kBlocks; ++block) {
    for (size_t i = 0; i < rivals.size(); ++i) {
      Rival& rival = rivals[(i + static_cast<size_t>(block)) % rivals.size()];  // each is first in turn
      if (rival.works) run_block(rival, rotation, launches, watch);
    }
  }
  timing.seconds = median(rivals[0].seconds);
  if (rivals[1].works) timing.cublas_seconds = median(rivals[1].seconds);
  if (rivals[2].works) timing.cublaslt_seconds = median(rivals[2].seconds);
  return timing;
}

}  // namespace

GemmBench bench_gemms(uint32_t ordinal, const std::function<void(double)>& progress) {
  const GemmDevice device = require_gpu(ordinal);
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, static_cast<int>(ordinal)), "cudaGetDeviceProperties",
             ordinal);
  Cublas cublas(nullptr);
  GemmBench bench{.gpu = properties.name, .cublas = cublas.description(), .timings = {}};
  const std::vector<GemmSize> all = sizes();
  for (const GemmSize& size : all) {
    bench.timings.push_back(time_size(size, device, ordinal, cublas));
    if (progress) progress(static_cast<double>(bench.timings.size()) / static_cast<double>(all.size()));
  }
  return bench;
}

}  // namespace hfload
