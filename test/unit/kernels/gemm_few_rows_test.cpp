#include "kernels/gemm_few_rows.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/gemm_case.h"
#include "kernels/gemm_finish.h"

namespace hfload::test {
namespace {

using Multiply = void (*)(const FewRows&, int64_t, int64_t, float*, int64_t);

std::vector<Multiply> ways() {
  std::vector<Multiply> all = {multiply_few_rows, multiply_few_rows_portable};
  if (has_few_rows_avx2()) all.push_back(multiply_few_rows_avx2);
  return all;
}

/// A [m, k] in fp32 and B [n, k] in its dtype, without gaps.
struct Operands {
  Operands(GemmDtype dtype, int64_t m, int64_t n, int64_t k, bool whole)
      : a(static_cast<size_t>(m * k)), b(static_cast<size_t>(n * k * gemm_element_bytes(dtype))) {
    std::mt19937 random(5);
    std::normal_distribution<double> normal;
    const auto element = [&] { return whole ? static_cast<double>(random() % 7) - 3 : normal(random); };
    for (float& value : a) value = static_cast<float>(element());
    for (int64_t i = 0; i < n * k; ++i) gemm_store(dtype, b.data(), i, element());
    rows = {dtype, m, k, a.data(), b.data()};
  }

  double product(int64_t row, int64_t column) const {
    double sum = 0;
    for (int64_t i = 0; i < rows.k; ++i) {
      sum += static_cast<double>(a[static_cast<size_t>(row * rows.k + i)]) *
             gemm_load(rows.dtype, b.data(), column * rows.k + i);
    }
    return sum;
  }
  /// Of n additions in fp32, whatever their order, by the bound of Higham's "Accuracy and Stability", 3.1.
  double bound(int64_t row, int64_t column) const {
    double sum = 0;
    for (int64_t i = 0; i < rows.k; ++i) {
      sum += std::abs(static_cast<double>(a[static_cast<size_t>(row * rows.k + i)]) *
                      gemm_load(rows.dtype, b.data(), column * rows.k + i));
    }
    return std::ldexp(sum, -24) * static_cast<double>(rows.k + 1);
  }

  std::vector<float> a;
  std::vector<std::byte> b;
  FewRows rows;
};

TEST_CASE("few rows: every way sums up what the definition does, for the columns asked for and no others") {
  constexpr int64_t kColumns = 11, kLd = 13;
  constexpr float kUntouched = -77;
  for (const Multiply multiply : ways()) {
    for (const GemmDtype dtype : kGemmDtypeList) {
      for (int64_t m = 1; m <= kMostFewRows; ++m) {
        for (const int64_t k : {0, 32, 96, 1024}) {
          for (const bool whole : {false, true}) {
            const Operands operands(dtype, m, kColumns, k, whole);
            for (const auto& [begin, end] : {std::pair{0, 11}, std::pair{3, 8}, std::pair{10, 11}}) {
              std::vector<float> out(static_cast<size_t>(m * kLd), kUntouched);
              multiply(operands.rows, begin, end, out.data(), kLd);
              CAPTURE(gemm_dtype_name(dtype), m, k, begin, end);
              for (int64_t i = 0; i < m * kLd; ++i) {
                const int64_t row = i / kLd, column = begin + i % kLd;
                const auto got = static_cast<double>(out[static_cast<size_t>(i)]);
                if (column >= end) {
                  REQUIRE(got == static_cast<double>(kUntouched));
                  continue;
                }
                const double allowed = whole ? 0 : operands.bound(row, column);
                REQUIRE(std::abs(got - operands.product(row, column)) <= allowed);
              }
            }
          }
        }
      }
    }
  }
}

TEST_CASE("few rows: a sum does not depend on which columns are computed with it") {
  const Operands operands(GemmDtype::bf16, 4, 9, 512, false);
  std::vector<float> together(4 * 9), alone(4);
  multiply_few_rows(operands.rows, 0, 9, together.data(), 9);
  for (int64_t column = 0; column < 9; ++column) {
    multiply_few_rows(operands.rows, column, column + 1, alone.data(), 1);
    for (size_t row = 0; row < 4; ++row) {
      CHECK(alone[row] == together[row * 9 + static_cast<size_t>(column)]);
    }
  }
}

TEST_CASE("a stored row is the reference's, in any part, in place of D, and for no product") {
  for (const GemmDtype dtype : kGemmDtypeList) {
    for (int e = 0; e < kGemmEpilogues; ++e) {
      for (const int64_t k : {0, 1}) {
        GemmCase::Shape shape{.dtype = dtype, .epilogue = static_cast<GemmEpilogue>(e)};
        shape.m = 2;
        shape.n = 150;
        shape.k = k;
        shape.batch = 2;
        shape.alpha = 0.5F;
        shape.beta = e % 2 == 0 ? 0.0F : 3.0F;
        shape.pad = 3;
        GemmCase problem = random_gemm_case(shape, static_cast<unsigned>(e));
        const bool in_place = gemm_has_operand(shape.epilogue) && k == 1;
        if (in_place) problem.gemm.d = {problem.gemm.c.data, problem.gemm.c.ld, problem.gemm.c.batch_stride};
        GemmCase before = problem;
        if (in_place) before.gemm.d = {before.gemm.c.data, before.gemm.c.ld, before.gemm.c.batch_stride};
        if (!in_place && shape.beta == 0) problem.poison_target();
        for (int64_t row = 0; row < shape.m; ++row) {
          std::vector<float> sums(static_cast<size_t>(shape.n));
          for (int64_t c = 0; c < shape.n && k == 1; ++c) {
            const Gemm& g = before.gemm;
            sums[static_cast<size_t>(c)] =
                static_cast<float>(gemm_load(dtype, g.a.data, g.a.batch_stride + row * g.a.ld)) *
                static_cast<float>(gemm_load(dtype, g.b.data, g.b.batch_stride + c * g.b.ld));
          }
          const float* const from = k == 0 ? nullptr : sums.data();
          finish_gemm_row(problem.gemm, 1, row, 0, 70, from);
          finish_gemm_row(problem.gemm, 1, row, 70, 80, from == nullptr ? nullptr : from + 70);
          for (int64_t c = 0; c < shape.n; ++c) {
            CAPTURE(gemm_dtype_name(dtype), gemm_epilogue_name(shape.epilogue), k, row, c);
            const double wanted = gemm_reference_element(before.gemm, 1, row, c);
            REQUIRE(std::abs(problem.target(1, row, c) - wanted) <= gemm_error_bound(before.gemm, 1, row, c));
          }
        }
        CHECK(problem.padding_is(before));
      }
    }
  }
}

}  // namespace
}  // namespace hfload::test
