#include "core/run/gemm_trial.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "core/run/gemm_check.h"

namespace hfload {
namespace {

using Shape = GemmCase::Shape;

struct Scale {
  float alpha, beta;
};
constexpr Scale kScales[] = {{1, 0}, {1, 1}, {-0.5F, 2}, {0.25F, 0}};

/// Whole numbers give the reference's bits where the epilogue keeps them whole.
bool can_be_exact(GemmEpilogue epilogue) {
  return epilogue == GemmEpilogue::none || epilogue == GemmEpilogue::bias ||
         epilogue == GemmEpilogue::residual;
}

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

double rounded(GemmDtype dtype, double value) {
  std::byte bytes[4];
  gemm_store(dtype, bytes, 0, value);
  return gemm_load(dtype, bytes, 0);
}

}  // namespace

std::vector<GemmTrial> gemm_trials(std::span<const GemmTrialSize> sizes, int64_t most_multiplications) {
  std::vector<GemmTrial> trials;
  size_t number = 0;
  for (const GemmDtype dtype : kGemmDtypeList) {
    for (const GemmTrialSize& size : sizes) {
      if (size.m * size.n * size.k * size.batch > most_multiplications) continue;
      for (int epilogue = 0; epilogue < kGemmEpilogues; ++epilogue, ++number) {
        const Scale& scale = kScales[(number + number / kGemmEpilogues) % std::size(kScales)];
        GemmTrial trial{{.dtype = dtype,
                         .epilogue = static_cast<GemmEpilogue>(epilogue),
                         .m = size.m,
                         .n = size.n,
                         .k = size.k,
                         .batch = size.batch,
                         .alpha = scale.alpha,
                         .beta = scale.beta,
                         .pad = size.pad}};
        trials.push_back(trial);
        trial.exact = can_be_exact(trial.shape.epilogue);
        if (trial.exact) trials.push_back(trial);
      }
    }
  }
  return trials;
}

std::string describe_trial(const Shape& shape) {
  return fmt::format("{}x{}x{} batch {} {} alpha {} beta {}", shape.m, shape.n, shape.k, shape.batch,
                     gemm_epilogue_name(shape.epilogue), shape.alpha, shape.beta);
}

GemmExpectation::GemmExpectation(const GemmTrial& trial, uint64_t most_elements)
    : exact_(trial.exact),
      before_(trial.exact ? exact_gemm_case(trial.shape, 1) : random_gemm_case(trial.shape, 2)) {
  const Shape& shape = trial.shape;
  const auto add = [&](int64_t entry, int64_t row, int64_t column) {
    const double value = gemm_reference_element(before_.gemm, entry, row, column);
    elements_.push_back(
        {entry, row, column, value, exact_ ? 0 : gemm_error_bound(before_.gemm, entry, row, column)});
  };
  const auto count = static_cast<uint64_t>(shape.batch * shape.m * shape.n);
  std::mt19937_64 random(count);
  for (uint64_t i = 0; i < std::min(count, most_elements); ++i) {
    const auto at = static_cast<int64_t>(count <= most_elements ? i : random() % count);
    add(at / (shape.m * shape.n), at / shape.n % shape.m, at % shape.n);
  }
  if (count > most_elements) {
    for (const int64_t row : {int64_t{0}, shape.m - 1}) {
      for (const int64_t column : {int64_t{0}, shape.n - 1}) add(shape.batch - 1, row, column);
    }
  }
  if (shape.beta == 0) before_.poison_target();
}

GemmVerdict GemmExpectation::judge(const GemmCase& result) const {
  GemmVerdict verdict;
  if (!result.padding_is(before_)) verdict.fault = "wrote outside of C";
  if (verdict.fault.empty() && holds_poison(result)) verdict.fault = "left an element unwritten";
  if (!verdict.fault.empty()) return verdict;
  for (const Element& element : elements_) {
    const double got = result.target(element.entry, element.row, element.column);
    const double wanted = exact_ ? rounded(before_.shape.dtype, element.value) : element.value;
    ++verdict.elements;
    const double error = got == wanted ? 0 : std::abs(got - wanted);
    if (element.bound > 0) verdict.worst = std::max(verdict.worst, error / element.bound);
    if (error <= element.bound) continue;
    verdict.fault = fmt::format("element [{}, {}, {}] is {}, not {} within {}", element.entry, element.row,
                                element.column, got, wanted, element.bound);
    break;
  }
  return verdict;
}

void GemmCheck::count(const GemmCase::Shape& shape, const GemmVerdict& verdict) {
  ++products;
  elements += verdict.elements;
  worst = std::max(worst, verdict.worst);
  if (verdict.fault.empty()) return;
  ++faults;
  if (first_fault.empty()) first_fault = describe_trial(shape) + ": " + verdict.fault;
}

}  // namespace hfload
