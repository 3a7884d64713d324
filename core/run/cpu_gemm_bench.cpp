#include "core/run/cpu_gemm_bench.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <random>

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

struct Size {
  GemmDtype dtype;
  int64_t m, n, k;
};

std::vector<Size> sizes() {
  std::vector<Size> all;
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

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
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

/// Fills memory with normally distributed numbers, of which it holds some 64 thousand different ones.
HostMemory random_matrix(GemmDtype dtype, int64_t count) {
  constexpr int64_t kDifferent = 65'521;  // prime, so that rows do not repeat each other
  const int64_t bytes = gemm_element_bytes(dtype);
  HostMemory memory(static_cast<uint64_t>(count * bytes));
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  std::byte* const data = memory.bytes().data();
  for (int64_t i = 0; i < std::min(count, kDifferent); ++i) gemm_store(dtype, data, i, normal(random));
  for (int64_t i = kDifferent; i < count; i += kDifferent) {
    std::copy_n(data, std::min(kDifferent, count - i) * bytes, data + i * bytes);
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
  Rotation(const Size& size, CpuEngine& engine) {
    const int64_t bytes = gemm_element_bytes(size.dtype);
    const bool few = CpuGemm::way_for(size.m) == CpuGemmWay::rows;
    const int64_t sets = few ? std::max<int64_t>(kRotatedBytes / (size.n * size.k * bytes), 2) : 1;
    a_ = random_matrix(size.dtype, size.m * size.k);
    b_ = random_matrix(size.dtype, size.n * size.k);
    c_ = HostMemory(static_cast<uint64_t>(size.m * size.n * bytes));
    gemm_.dtype = size.dtype;
    gemm_.m = size.m;
    gemm_.n = size.n;
    gemm_.k = size.k;
    gemm_.a = {a_.bytes().data(), size.k, 0};
    gemm_.b = {b_.bytes().data(), size.k, 0};
    gemm_.c = {c_.bytes().data(), size.n, 0};
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

CpuLimit limit_of(const Size& size, const CpuEngine& engine) {
  if (CpuGemm::way_for(size.m) == CpuGemmWay::rows) return CpuLimit::read;
  const bool bf16 = size.dtype == GemmDtype::bf16 && engine.has_fast_bf16() && probe_bf16_peak(1) != 0;
  return bf16 ? CpuLimit::bf16_peak : CpuLimit::f32_peak;
}

CpuGemmTiming time_size(const Size& size, CpuEngine& engine, const OpenBlas& openblas, Probes& probes) {
  Rotation rotation(size, engine);
  CpuGemmTiming timing{.dtype = size.dtype, .m = size.m, .n = size.n, .k = size.k};
  timing.way = CpuGemm::way_for(size.m);
  timing.limit = limit_of(size, engine);
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
  const std::vector<Size> all = sizes();
  for (const Size& size : all) {
    bench.timings.push_back(time_size(size, engine, openblas, probes));
    if (progress) progress(static_cast<double>(bench.timings.size()) / static_cast<double>(all.size()));
  }
  return bench;
}

}  // namespace hfload
