#include "core/run/cpu_gemm_bench.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <span>

#include "core/load/host_memory.h"
#include "core/run/openblas.h"
#include "core/run/worker_team.h"
#include "kernels/probes.h"

namespace hfload {
namespace {

constexpr int kBlocks = 9;
constexpr double kSecondsPerBlock = 0.05;
constexpr int kMostProducts = 50;
/// Of weights that take turns for few rows: a decoder meets each once a token, so that none is in a cache.
constexpr int64_t kRotatedBytes = 512 << 20;
constexpr uint64_t kReadBytes = 512 << 20;

std::vector<GemmSize> sizes() {
  std::vector<GemmSize> all;
  for (const int64_t size : {1024, 2048, 4096}) all.push_back({GemmDtype::f32, size, size, size});
  for (const GemmDtype dtype : {GemmDtype::f32, GemmDtype::bf16, GemmDtype::f16}) {
    for (const int64_t m : {1, 2, 4, 8, 16, 128, 1024}) all.push_back({dtype, m, 4096, 4096});
    for (const int64_t m : {1, 128}) {
      all.push_back({dtype, m, 14336, 4096});
      all.push_back({dtype, m, 4096, 14336});
    }
  }
  return all;
}

template <class Work>
double seconds_of(const Work& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown CPU";
}

HostMemory random_matrix(GemmDtype dtype, int64_t count) {
  const std::vector<std::byte> numbers = random_gemm_elements(dtype);
  HostMemory memory(static_cast<uint64_t>(count * gemm_element_bytes(dtype)));
  const std::span<std::byte> all = memory.bytes();
  for (size_t at = 0; at < all.size(); at += numbers.size()) {
    std::copy_n(numbers.data(), std::min(numbers.size(), all.size() - at), all.data() + at);
  }
  return memory;
}

/// What bounds products, timed on the threads of the products.
class Probes {
 public:
  explicit Probes(unsigned threads) : team_(threads), memory_(kReadBytes) {
    std::ranges::fill(memory_.bytes(), std::byte{1});
  }

  /// Flop/s or bytes/s.
  double rate(CpuLimit limit) {
    std::atomic<uint64_t> done{0};
    const double seconds = seconds_of([&] {
      team_.run([&](unsigned index) {
        if (limit == CpuLimit::read) {
          const uint64_t part = kReadBytes / team_.threads() / 4096 * 4096;
          sink_ += probe_read(memory_.bytes().data() + index * part, part);
          done += part;
        } else {
          constexpr uint64_t kRounds = 100'000;
          done += limit == CpuLimit::f32_peak ? probe_f32_peak(kRounds) : probe_bf16_peak(kRounds);
        }
      });
    });
    return static_cast<double>(done.load()) / seconds;
  }

 private:
  WorkerTeam team_;
  HostMemory memory_;
  std::atomic<uint64_t> sink_{0};
};

/// The operands of one size, and as many packed weights as are to take turns.
class Rotation {
 public:
  Rotation(const GemmSize& size, CpuEngine& engine) {
    const int64_t bytes = gemm_element_bytes(size.dtype);
    const bool few = CpuGemm::way_for(size.m) == CpuGemmWay::rows;
    const int64_t sets = few ? std::max<int64_t>(kRotatedBytes / (size.n * size.k * bytes), 2) : 1;
    a_ = random_matrix(size.dtype, size.m * size.k);
    b_ = random_matrix(size.dtype, size.n * size.k);
    c_ = HostMemory(static_cast<uint64_t>(size.m * size.n * bytes));
    gemm_ = size.of(a_.bytes().data(), b_.bytes().data(), c_.bytes().data());
    for (int64_t i = 0; i < sets; ++i) {
      products_.emplace_back(engine, gemm_);
      products_.back().prepare(size.m);
    }
  }

  const Gemm& gemm() const { return gemm_; }
  void multiply() { products_[next_++ % products_.size()].multiply(gemm_); }

 private:
  HostMemory a_, b_, c_;
  Gemm gemm_;
  std::vector<CpuGemm> products_;
  size_t next_ = 0;
};

/// What bounds the product more tightly by what the probes say now: reading the operands, or multiplying
/// them. Of weights that stay in a cache only the latter.
CpuLimit limit_of(const GemmSize& size, CpuGemmWay way, const CpuEngine& engine, Probes& probes) {
  const bool bf16 = way == CpuGemmWay::onednn && size.dtype == GemmDtype::bf16 && engine.has_fast_bf16() &&
                    probe_bf16_peak(1) != 0;
  const CpuLimit peak = bf16 ? CpuLimit::bf16_peak : CpuLimit::f32_peak;
  if (way == CpuGemmWay::onednn) return peak;
  const bool reads_longer =
      size.bytes() / probes.rate(CpuLimit::read) > size.flops() / probes.rate(CpuLimit::f32_peak);
  return reads_longer ? CpuLimit::read : peak;
}

CpuGemmTiming time_size(const GemmSize& size, CpuEngine& engine, const OpenBlas& openblas, Probes& probes) {
  Rotation rotation(size, engine);
  CpuGemmTiming timing{.size = size, .way = CpuGemm::way_for(size.m)};
  timing.limit = limit_of(size, timing.way, engine, probes);
  rotation.multiply();  // warm-up, not counted
  const double once = seconds_of([&] { rotation.multiply(); });
  const int products = std::clamp(static_cast<int>(kSecondsPerBlock / once), 1, kMostProducts);
  const bool has_rival = openblas.multiply(rotation.gemm());
  std::vector<double> own, rival, limit;
  for (int block = 0; block < kBlocks; ++block) {
    const auto time_own = [&] {
      own.push_back(seconds_of([&] {
                      for (int i = 0; i < products; ++i) rotation.multiply();
                    }) /
                    products);
    };
    const auto time_rival = [&] {
      if (!has_rival) return;
      rival.push_back(seconds_of([&] {
                        for (int i = 0; i < products; ++i) openblas.multiply(rotation.gemm());
                      }) /
                      products);
    };
    if (block % 2 == 0) time_own();
    time_rival();
    if (block % 2 != 0) time_own();
    limit.push_back(probes.rate(timing.limit));
  }
  timing.seconds = median(own);
  if (has_rival) timing.openblas_seconds = median(rival);
  timing.limit_rate = median(limit);
  timing.limit_spread = std::ranges::max(limit) / std::ranges::min(limit);
  return timing;
}

}  // namespace

CpuGemmBench bench_cpu_gemms(CpuEngine& engine, const std::function<void(double)>& progress) {
  const OpenBlas openblas(engine.threads());
  Probes probes(engine.threads());
  CpuGemmBench bench{.cpu = cpu_name(),
                     .threads = engine.threads(),
                     .onednn = engine.description(),
                     .openblas = openblas.description(),
                     .timings = {}};
  const std::vector<GemmSize> all = sizes();
  for (const GemmSize& size : all) {
    bench.timings.push_back(time_size(size, engine, openblas, probes));
    if (progress) progress(static_cast<double>(bench.timings.size()) / static_cast<double>(all.size()));
  }
  return bench;
}

}  // namespace hfload
