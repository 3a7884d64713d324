#include "core/run/gemm_check.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "core/run/device_block.h"
#include "core/run/require_gpu.h"
#include "kernels/gemm_case.h"
#include "kernels/gemm_device.h"

namespace hfload {
namespace {

using Shape = GemmCase::Shape;

/// More elements than this are sampled: the reference is slow.
constexpr uint64_t kMaxComparedElements = 2000;

struct Size {
  int64_t m, n, k, batch, pad;
};
constexpr Size kSizes[] = {
    {1, 1, 1, 1, 0},        {1, 7, 13, 1, 3},       {3, 5, 0, 1, 0},         {1, 100, 1024, 1, 0},
    {2, 33, 2056, 1, 8},    {5, 130, 4104, 2, 0},   {8, 64, 8192, 1, 0},     {16, 48, 64, 1, 0},
    {13, 257, 1032, 1, 8},  {31, 127, 129, 1, 0},   {17, 33, 72, 3, 8},      {64, 192, 2048, 1, 0},
    {65, 129, 136, 2, 0},   {127, 251, 509, 1, 0},  {128, 256, 64, 1, 0},    {129, 257, 200, 1, 8},
    {250, 300, 1000, 1, 0}, {256, 512, 4096, 1, 0}, {300, 1000, 520, 2, 16}, {1024, 1536, 512, 1, 0},
};
struct Scale {
  float alpha, beta;
};
constexpr Scale kScales[] = {{1, 0}, {1, 1}, {-0.5F, 2}, {0.25F, 0}};

Shape shape_of(const Size& size, GemmDtype dtype, int trial) {
  const Scale& scale = kScales[trial % 4];
  return {.dtype = dtype,
          .epilogue = static_cast<GemmEpilogue>(trial % kGemmEpilogues),
          .m = size.m,
          .n = size.n,
          .k = size.k,
          .batch = size.batch,
          .alpha = scale.alpha,
          .beta = scale.beta,
          .pad = size.pad};
}

std::string describe(const Shape& shape) {
  return fmt::format("{}x{}x{} batch {} {} alpha {} beta {}", shape.m, shape.n, shape.k, shape.batch,
                     gemm_epilogue_name(shape.epilogue), shape.alpha, shape.beta);
}

/// An element of C, what it should be, and how far off it may be.
struct Expected {
  int64_t entry, row, column;
  double value, bound;
};

/// Every element of a small product; of a large one its corners and a random sample.
std::vector<Expected> expected_elements(const GemmCase& problem, bool exact) {
  const Shape& shape = problem.shape;
  std::vector<Expected> elements;
  const auto add = [&](int64_t entry, int64_t row, int64_t column) {
    const double value = gemm_reference_element(problem.gemm, entry, row, column);
    elements.push_back(
        {entry, row, column, value, exact ? 0 : gemm_error_bound(problem.gemm, entry, row, column)});
  };
  const auto count = static_cast<uint64_t>(shape.batch * shape.m * shape.n);
  std::mt19937_64 random(count);
  for (uint64_t i = 0; i < std::min(count, kMaxComparedElements); ++i) {
    const auto at = static_cast<int64_t>(count <= kMaxComparedElements ? i : random() % count);
    add(at / (shape.m * shape.n), at / shape.n % shape.m, at % shape.n);
  }
  if (count > kMaxComparedElements) {
    for (const int64_t row : {int64_t{0}, shape.m - 1}) {
      for (const int64_t column : {int64_t{0}, shape.n - 1}) add(shape.batch - 1, row, column);
    }
  }
  return elements;
}

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

bool holds_poison(const GemmCase& result) {
  for (int64_t entry = 0; entry < result.shape.batch; ++entry) {
    for (int64_t row = 0; row < result.shape.m; ++row) {
      for (int64_t column = 0; column < result.shape.n; ++column) {
        if (std::isnan(result.target(entry, row, column))) return true;
      }
    }
  }
  return false;
}

/// What is wrong with a result; empty when nothing is.
std::string fault_in(const GemmCase& before, const GemmCase& result, const std::vector<Expected>& elements,
                     bool exact, GemmCheck& check) {
  if (!result.padding_is(before)) return "wrote outside of C";
  if (holds_poison(result)) return "left an element unwritten";
  for (const Expected& element : elements) {
    const double got = result.target(element.entry, element.row, element.column);
    double wanted = element.value;
    if (exact) {
      std::byte rounded[4];
      gemm_store(before.shape.dtype, rounded, 0, wanted);
      wanted = gemm_load(before.shape.dtype, rounded, 0);
    }
    ++check.elements;
    const double error = got == wanted ? 0 : std::abs(got - wanted);
    if (element.bound > 0) check.worst = std::max(check.worst, error / element.bound);
    if (error <= element.bound) continue;
    return fmt::format("element [{}, {}, {}] is {}, not {} within {}", element.entry, element.row,
                       element.column, got, wanted, element.bound);
  }
  return {};
}

/// Whole numbers give the reference's bits where the epilogue keeps them whole.
bool can_be_exact(GemmEpilogue epilogue) {
  return epilogue == GemmEpilogue::none || epilogue == GemmEpilogue::bias ||
         epilogue == GemmEpilogue::residual;
}

void check_case(const Shape& shape, bool exact, uint32_t ordinal, const GemmDevice& device,
                std::vector<GemmCheck>& checks) {
  GemmCase before = exact ? exact_gemm_case(shape, 1) : random_gemm_case(shape, 2);
  const std::vector<Expected> elements = expected_elements(before, exact);
  if (shape.beta == 0) before.poison_target();
  DeviceCase on_device(before, ordinal);
  GemmCase result = before;
  for (GemmCheck& check : checks) {
    if (check.dtype != shape.dtype || !can_run(check.rule, on_device.gemm(), device)) continue;
    on_device.compute(check.rule, device, before, result);
    ++check.products;
    const std::string fault = fault_in(before, result, elements, exact, check);
    if (fault.empty()) continue;
    ++check.faults;
    if (check.first_fault.empty()) check.first_fault = describe(shape) + ": " + fault;
  }
}

}  // namespace

std::vector<GemmCheck> check_gemms(uint32_t ordinal, int64_t most_multiplications,
                                   const std::function<void(double)>& progress) {
  const GemmDevice device = require_gpu(ordinal);
  std::vector<GemmCheck> checks;
  for (const GemmDtype dtype : {GemmDtype::f32, GemmDtype::f16, GemmDtype::bf16}) {
    for (const GemmRule& rule : gemm_rules()) {
      if (rule.is_f32 == (dtype == GemmDtype::f32)) checks.push_back({.rule = rule, .dtype = dtype});
    }
  }
  int trial = 0;
  constexpr double kProducts = 3.0 * std::size(kSizes) * kGemmEpilogues;
  for (const GemmDtype dtype : {GemmDtype::f32, GemmDtype::f16, GemmDtype::bf16}) {
    for (const Size& size : kSizes) {
      if (size.m * size.n * size.k * size.batch > most_multiplications) continue;
      for (int epilogue = 0; epilogue < kGemmEpilogues; ++epilogue, ++trial) {
        // The scalings walk past the epilogues from size to size.
        Shape shape = shape_of(size, dtype, trial + trial / kGemmEpilogues);
        shape.epilogue = static_cast<GemmEpilogue>(epilogue);
        check_case(shape, false, ordinal, device, checks);
        if (can_be_exact(shape.epilogue)) check_case(shape, true, ordinal, device, checks);
        if (progress) progress((trial + 1) / kProducts);
      }
    }
  }
  return checks;
}

}  // namespace hfload
