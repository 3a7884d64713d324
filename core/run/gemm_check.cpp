#include "core/run/gemm_check.h"

#include <cuda_runtime_api.h>

#include "core/run/device_block.h"
#include "core/run/require_gpu.h"
#include "kernels/gemm_device.h"

namespace hfload {
namespace {

constexpr GemmTrialSize kSizes[] = {
    {1, 1, 1, 1, 0},        {1, 7, 13, 1, 3},       {3, 5, 0, 1, 0},         {1, 100, 1024, 1, 0},
    {2, 33, 2056, 1, 8},    {5, 130, 4104, 2, 0},   {8, 64, 8192, 1, 0},     {16, 48, 64, 1, 0},
    {13, 257, 1032, 1, 8},  {31, 127, 129, 1, 0},   {17, 33, 72, 3, 8},      {64, 192, 2048, 1, 0},
    {65, 129, 136, 2, 0},   {127, 251, 509, 1, 0},  {128, 256, 64, 1, 0},    {129, 257, 200, 1, 8},
    {250, 300, 1000, 1, 0}, {256, 512, 4096, 1, 0}, {300, 1000, 520, 2, 16}, {1024, 1536, 512, 1, 0},
};

/// A problem with its operands on the device.
class DeviceCase {
 public:
  DeviceCase(const GemmCase& problem, uint32_t ordinal) : gemm_(problem.gemm), ordinal_(ordinal) {
    for (const std::vector<std::byte>& memory : problem.memory) {
      blocks_.emplace_back(memory.size(), ordinal);
      blocks_.back().write(memory.data(), memory.size());
    }
    gemm_.a.data = blocks_[0].data();
    gemm_.b.data = blocks_[1].data();
    gemm_.c.data = blocks_[2].data();
    gemm_.d.data = blocks_[3].data();
    gemm_.bias = blocks_[4].data();
  }

  const Gemm& gemm() const { return gemm_; }

  /// Computes C from `before`'s C into `result`'s, by one rule.
  void compute(const GemmRule& rule, const GemmDevice& device, const GemmCase& before, GemmCase& result) {
    const GemmPlan plan = plan_gemm_by(rule, gemm_, device);
    DeviceBlock workspace(static_cast<size_t>(plan.workspace_bytes), ordinal_);
    // NaN: a partial sum that is not written shows.
    check_cuda(cudaMemset(workspace.data(), 0xff, workspace.bytes()), "cudaMemset", ordinal_);
    blocks_[2].write(before.memory[2].data(), before.memory[2].size());
    check_cuda(static_cast<cudaError_t>(launch_gemm(gemm_, plan, workspace.data(), nullptr)),
               "the launch of a product", ordinal_);
    check_cuda(cudaDeviceSynchronize(), "a product", ordinal_);
    blocks_[2].read(result.memory[2].data());
  }

 private:
  Gemm gemm_;
  uint32_t ordinal_;
  std::vector<DeviceBlock> blocks_;  ///< by GemmOperand
};

}  // namespace

std::vector<GemmCheck> check_gemms(uint32_t ordinal, int64_t most_multiplications,
                                   const std::function<void(double)>& progress) {
  const GemmDevice device = require_gpu(ordinal);
  std::vector<GemmCheck> checks;
  std::vector<GemmRule> rules;  // of the same index
  for (const GemmDtype dtype : kGemmDtypeList) {
    for (const GemmRule& rule : gemm_rules()) {
      if (rule.is_f32 != (dtype == GemmDtype::f32)) continue;
      checks.push_back(
          {.kernel = gemm_kernel_name(rule.kernel), .tile = gemm_tile_name(rule), .dtype = dtype});
      rules.push_back(rule);
    }
  }
  const std::vector<GemmTrial> trials = gemm_trials(kSizes, most_multiplications);
  size_t done = 0;
  for (const GemmTrial& trial : trials) {
    const GemmExpectation expected(trial);
    DeviceCase on_device(expected.before(), ordinal);
    GemmCase result = expected.before();
    for (size_t i = 0; i < checks.size(); ++i) {
      if (checks[i].dtype != trial.shape.dtype || !can_run(rules[i], on_device.gemm(), device)) continue;
      on_device.compute(rules[i], device, expected.before(), result);
      checks[i].count(trial.shape, expected.judge(result));
    }
    if (progress) progress(static_cast<double>(++done) / static_cast<double>(trials.size()));
  }
  return checks;
}

}  // namespace hfload
