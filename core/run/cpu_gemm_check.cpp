#include <limits>

#include "core/run/cpu_gemm.h"
#include "core/run/gemm_check.h"

namespace hfload {
namespace {

constexpr uint64_t kMostElements = 500;

constexpr GemmTrialSize kSizes[] = {
    {1, 1, 1, 1, 0},      {1, 7, 13, 1, 3},    {3, 5, 0, 1, 0},     {1, 100, 1024, 1, 0}, {2, 33, 515, 1, 8},
    {5, 130, 257, 2, 0},  {8, 64, 1000, 1, 0}, {9, 64, 64, 1, 0},   {13, 257, 103, 1, 8}, {17, 33, 72, 3, 8},
    {31, 127, 129, 1, 0}, {16, 1, 300, 1, 0},  {64, 96, 512, 1, 0}, {65, 129, 136, 2, 5}, {40, 1100, 1, 1, 0},
};

}  // namespace

std::vector<GemmCheck> check_cpu_gemms(CpuEngine& engine, const std::function<void(double)>& progress) {
  std::vector<GemmCheck> checks;
  for (const GemmDtype dtype : kGemmDtypeList) {
    for (const CpuGemmWay way : kCpuGemmWays)
      checks.push_back({.kernel = cpu_gemm_way_name(way), .dtype = dtype});
  }
  const std::vector<GemmTrial> trials = gemm_trials(kSizes, std::numeric_limits<int64_t>::max());
  size_t done = 0;
  for (const GemmTrial& trial : trials) {
    const GemmExpectation expected(trial, kMostElements);
    CpuGemm product(engine, expected.before().gemm);
    for (size_t i = 0; i < checks.size(); ++i) {
      if (checks[i].dtype != trial.shape.dtype) continue;
      GemmCase result = expected.before();
      product.multiply_by(kCpuGemmWays[i % std::size(kCpuGemmWays)], result.gemm);
      checks[i].count(trial.shape, expected.judge(result));
    }
    if (progress) progress(static_cast<double>(++done) / static_cast<double>(trials.size()));
  }
  return checks;
}

}  // namespace hfload
