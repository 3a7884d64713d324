#include "kernels/gemm_few_rows.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/gemm_case.h"
#include "kernels/gemm_finish.h"

#define HFLOAD_LANES_TARGET
#include "kernels/gemm_few_rows_tiles.h"

namespace hfload::test {
namespace {

/// Vectors of any length in plain C++, so that what is common to all instruction sets is tested as those use
/// it that this processor does not have.
template <int count, int column_count>
struct PlainLanes {
  struct Vector {
    float lanes[count];
  };
  static constexpr int kCount = count;
  static constexpr int columns(int) { return column_count; }

  static Vector zero() { return {}; }
  static Vector load(const float* from) {
    Vector x;
    std::copy_n(from, count, x.lanes);
    return x;
  }
  static void store(float* to, const Vector& x) { std::copy_n(x.lanes, count, to); }
  static Vector add(Vector x, const Vector& y) {
    for (int i = 0; i < count; ++i) x.lanes[i] += y.lanes[i];
    return x;
  }
  static Vector multiply_add(const Vector& x, const Vector& y, Vector z) {
    for (int i = 0; i < count; ++i) z.lanes[i] += x.lanes[i] * y.lanes[i];
    return z;
  }
  static float sum(const Vector& x) { return std::accumulate(x.lanes, x.lanes + count, 0.0F); }

  template <GemmDtype dtype>
  static Vector load_wide(const std::byte* unit, int part) {
    Vector x;
    for (int i = 0; i < count; ++i) {
      const int at = part * count + i;
      const int index = dtype == GemmDtype::bf16 ? at % 16 * 2 + at / 16 : at;
      x.lanes[i] = static_cast<float>(gemm_load(dtype, unit, index));
    }
    return x;
  }
};

using Multiply = void (*)(const FewRows&, int64_t, int64_t, float*, int64_t);

std::vector<Multiply> ways() {
  std::vector<Multiply> all = {multiply_few_rows, multiply_few_rows_portable,
                               multiply_by_lanes<PlainLanes<16, 6>>, multiply_by_lanes<PlainLanes<8, 5>>};
  if (has_few_rows_avx2()) all.push_back(multiply_few_rows_avx2);
  if (has_few_rows_avx512()) all.push_back(multiply_few_rows_avx512);
  return all;
}

/// A [m, length] and B [n, k] in their dtype. A's rows are a gap apart; what of B's makes k a multiple of
/// kFewRowsUnit is to be multiplied by zeros.
struct Operands {
  Operands(GemmDtype dtype, int64_t m, int64_t n, int64_t length, bool whole)
      : k((length + kFewRowsUnit - 1) / kFewRowsUnit * kFewRowsUnit),
        a_ld(length + kGap),
        a(static_cast<size_t>(m * a_ld * gemm_element_bytes(dtype))),
        packed(static_cast<size_t>(m * k), NAN),
        b(static_cast<size_t>(n * k * gemm_element_bytes(dtype))) {
    std::mt19937 random(5);
    std::normal_distribution<double> normal;
    const auto element = [&] { return whole ? static_cast<double>(random() % 7) - 3 : normal(random); };
    for (int64_t i = 0; i < m * a_ld; ++i) gemm_store(dtype, a.data(), i, element());
    for (int64_t i = 0; i < n * k; ++i) gemm_store(dtype, b.data(), i, i % k < length ? element() : 1);
    pack_few_rows(dtype, a.data(), a_ld, m, length, k, packed.data());
    rows = {dtype, m, k, packed.data(), b.data()};
  }

  double term(int64_t row, int64_t column, int64_t i) const {
    return gemm_load(rows.dtype, a.data(), row * a_ld + i) * gemm_load(rows.dtype, b.data(), column * k + i);
  }
  double product(int64_t row, int64_t column) const {
    double sum = 0;
    for (int64_t i = 0; i < a_ld - kGap; ++i) sum += term(row, column, i);
    return sum;
  }
  /// Of n additions in fp32, whatever their order, by the bound of Higham's "Accuracy and Stability", 3.1.
  double bound(int64_t row, int64_t column) const {
    double sum = 0;
    for (int64_t i = 0; i < a_ld - kGap; ++i) sum += std::abs(term(row, column, i));
    return std::ldexp(sum, -24) * static_cast<double>(rows.k + 1);
  }

  static constexpr int64_t kGap = 3;
  int64_t k, a_ld;
  std::vector<std::byte> a;
  std::vector<float> packed;
  std::vector<std::byte> b;
  FewRows rows;
};

TEST_CASE("few rows: every way sums up what the definition does, for the columns asked for and no others") {
  // More than a block of columns, and than a piece of K: of 8 rows it has 512, of 3 rows 1344.
  constexpr int64_t kColumns = 29, kLd = 31;
  constexpr float kUntouched = -77;
  const auto check = [&](Multiply multiply, const Operands& operands, int64_t begin, int64_t end,
                         const std::vector<double>& products, const std::vector<double>& bounds) {
    const int64_t m = operands.rows.m;
    std::vector<float> out(static_cast<size_t>(m * kLd), kUntouched);
    multiply(operands.rows, begin, end, out.data(), kLd);
    for (int64_t i = 0; i < m * kLd; ++i) {
      const int64_t column = begin + i % kLd;
      const auto got = static_cast<double>(out[static_cast<size_t>(i)]);
      if (column >= end) {
        REQUIRE(got == static_cast<double>(kUntouched));
        continue;
      }
      const auto at = static_cast<size_t>(i / kLd * kColumns + column);
      REQUIRE(std::abs(got - products[at]) <= bounds[at]);
    }
  };
  for (const GemmDtype dtype : kGemmDtypeList) {
    for (int64_t m = 1; m <= kMostFewRows; ++m) {
      for (const int64_t k : {0, 7, 96, 1383}) {
        for (const bool whole : {false, true}) {
          const Operands operands(dtype, m, kColumns, k, whole);
          std::vector<double> products, bounds;
          for (int64_t i = 0; i < m * kColumns; ++i) {
            products.push_back(operands.product(i / kColumns, i % kColumns));
            bounds.push_back(whole ? 0 : operands.bound(i / kColumns, i % kColumns));
          }
          for (size_t way = 0; way < ways().size(); ++way) {
            for (const auto& [begin, end] : {std::pair{0, 29}, std::pair{3, 8}, std::pair{28, 29}}) {
              CAPTURE(way, gemm_dtype_name(dtype), m, k, whole, begin, end);
              check(ways()[way], operands, begin, end, products, bounds);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("few rows: a sum does not depend on which columns are computed with it") {
  for (const int64_t m : {1, 4, 7}) {
    const Operands operands(GemmDtype::bf16, m, 9, 900, false);
    const auto rows = static_cast<size_t>(m);
    std::vector<float> together(rows * 9), alone(rows);
    multiply_few_rows(operands.rows, 0, 9, together.data(), 9);
    for (int64_t column = 0; column < 9; ++column) {
      multiply_few_rows(operands.rows, column, column + 1, alone.data(), 1);
      for (size_t row = 0; row < rows; ++row) {
        CHECK(alone[row] == together[row * 9 + static_cast<size_t>(column)]);
      }
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
