#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/gemm_case.h"
#include "test/support/fixtures.h"

namespace hfload::test {
namespace {

GemmDtype dtype_named(const std::string& name) {
  for (const GemmDtype dtype : kGemmDtypeList) {
    if (name == gemm_dtype_name(dtype)) return dtype;
  }
  FAIL("no dtype " << name);
  return GemmDtype::f32;
}

GemmEpilogue epilogue_named(const std::string& name) {
  for (int i = 0; i < kGemmEpilogues; ++i) {
    if (name == gemm_epilogue_name(static_cast<GemmEpilogue>(i))) return static_cast<GemmEpilogue>(i);
  }
  FAIL("no epilogue " << name);
  return GemmEpilogue::none;
}

/// Element `index` of operand `seed`, as test/oracle/make_gemms.py makes it.
double oracle_element(uint64_t seed, uint64_t index) {
  const uint64_t mixed = (index * 2654435761U + seed * 40503U) >> 7;
  return (static_cast<double>(mixed % 129) - 64) / 32;
}

/// Half the distance of the dtype's numbers at x: mantissa bits and least exponent by the formats'
/// definitions.
double half_unit(GemmDtype dtype, double x) {
  const int bits = dtype == GemmDtype::f32 ? 23 : dtype == GemmDtype::f16 ? 10 : 7;
  const int least = dtype == GemmDtype::f16 ? -14 : -126;
  const int exponent = x == 0 ? least : std::max(std::ilogb(x), least);
  return std::ldexp(0.5, exponent - bits);
}

TEST_CASE("products and epilogues are those that torch computes in float64") {
  const ConfigValue fixture = read_json_fixture("gemms/gemms.json");
  const ConfigValue::Array& rows = array_of(at(fixture, "gemms"));
  REQUIRE(rows.size() == 56);
  for (const ConfigValue& row : rows) {
    const ConfigValue::Array& columns = array_of(row);
    GemmCase::Shape shape;
    shape.dtype = dtype_named(string_of(columns[0]));
    shape.epilogue = epilogue_named(string_of(columns[1]));
    shape.m = static_cast<int64_t>(uint_of(columns[2]));
    shape.n = static_cast<int64_t>(uint_of(columns[3]));
    shape.k = static_cast<int64_t>(uint_of(columns[4]));
    shape.batch = static_cast<int64_t>(uint_of(columns[5]));
    shape.alpha = static_cast<float>(number_of(columns[6]));
    shape.beta = static_cast<float>(number_of(columns[7]));
    shape.pad = static_cast<int64_t>(uint_of(columns[8]));
    GemmCase problem(shape, [](GemmOperand operand, int64_t index) {
      return oracle_element(static_cast<uint64_t>(operand) + 1, static_cast<uint64_t>(index));
    });
    if (shape.beta == 0) problem.poison_target();
    CAPTURE(string_of(columns[0]), string_of(columns[1]), shape.m, shape.n, shape.k);
    CHECK(gemm_fault(problem.gemm) == nullptr);

    const ConfigValue::Array& expected = array_of(columns[9]);
    REQUIRE(expected.size() == static_cast<size_t>(shape.batch * shape.m * shape.n));
    const GemmCase before = problem;
    gemm_reference(problem.gemm);
    size_t i = 0;
    for (int64_t e = 0; e < shape.batch; ++e) {
      for (int64_t r = 0; r < shape.m; ++r) {
        for (int64_t c = 0; c < shape.n; ++c, ++i) {
          const double value = number_of(expected[i]);
          CHECK(gemm_reference_element(before.gemm, e, r, c) == Approx(value).epsilon(1e-13).margin(1e-13));
          CHECK(std::abs(problem.target(e, r, c) - value) <= half_unit(shape.dtype, value) * 1.000001);
          CHECK(gemm_error_bound(before.gemm, e, r, c) >= half_unit(shape.dtype, value) * 0.999);
        }
      }
    }
    CHECK(problem.padding_is(before));
  }
}

TEST_CASE("a stored double is the nearest number of the dtype, ties to even") {
  uint16_t half = 0;
  gemm_store(GemmDtype::bf16, &half, 0, 1 + std::ldexp(1.0, -8));
  CHECK(half == 0x3f80);
  // Through float this would be the tie above.
  gemm_store(GemmDtype::bf16, &half, 0, 1 + std::ldexp(1.0, -8) + std::ldexp(1.0, -40));
  CHECK(half == 0x3f81);
  gemm_store(GemmDtype::f16, &half, 0, 65519.99);
  CHECK(half == 0x7bff);
  gemm_store(GemmDtype::f16, &half, 0, 65520);
  CHECK(half == 0x7c00);
  gemm_store(GemmDtype::f16, &half, 0, std::ldexp(1.0, -25));
  CHECK(half == 0);
  gemm_store(GemmDtype::f16, &half, 0, -std::ldexp(3.0, -26));
  CHECK(half == 0x8001);
  gemm_store(GemmDtype::bf16, &half, 0, -1e300);
  CHECK(half == 0xff80);
  float single = 0;
  gemm_store(GemmDtype::f32, &single, 0, 1 + std::ldexp(1.0, -24));
  CHECK(single == 1.0F);
}

TEST_CASE("a sum rounded in fp32 at every step stays within the error bound; one left-out term does not") {
  GemmCase::Shape shape;
  shape.m = 3;
  shape.n = 5;
  shape.k = 61;
  const GemmCase problem = random_gemm_case(shape, 7);
  for (int64_t r = 0; r < shape.m; ++r) {
    for (int64_t c = 0; c < shape.n; ++c) {
      float sum = 0;
      float last = 0;
      for (int64_t i = 0; i < shape.k; ++i) {
        last = static_cast<float>(gemm_load(shape.dtype, problem.gemm.a.data, r * problem.gemm.a.ld + i) *
                                  gemm_load(shape.dtype, problem.gemm.b.data, c * problem.gemm.b.ld + i));
        sum += last;
      }
      const double exact = gemm_reference_element(problem.gemm, 0, r, c);
      const double bound = gemm_error_bound(problem.gemm, 0, r, c);
      CHECK(std::abs(static_cast<double>(sum) - exact) <= bound);
      if (std::abs(last) > 0.01F) CHECK(std::abs(static_cast<double>(sum - last) - exact) > bound);
    }
  }
}

TEST_CASE("what breaks the contract is named") {
  GemmCase::Shape shape;
  shape.m = 4;
  shape.n = 6;
  shape.k = 8;
  shape.batch = 2;
  shape.epilogue = GemmEpilogue::residual;
  const GemmCase problem = random_gemm_case(shape, 1);
  REQUIRE(gemm_fault(problem.gemm) == nullptr);
  const auto fault_of = [&](auto change) {
    Gemm gemm = problem.gemm;
    change(gemm);
    return std::string(gemm_fault(gemm) == nullptr ? "none" : gemm_fault(gemm));
  };
  CHECK(fault_of([](Gemm& g) { g.m = -1; }) == "a size is negative or above 2^31 - 1");
  CHECK(fault_of([](Gemm& g) { g.k = int64_t{1} << 31; }) == "a size is negative or above 2^31 - 1");
  CHECK(fault_of([](Gemm& g) { g.b.ld = 7; }) == "a leading dimension is shorter than its row");
  CHECK(fault_of([](Gemm& g) { g.d.ld = 5; }) == "the leading dimension of D is shorter than its row");
  CHECK(fault_of([](Gemm& g) { g.c.batch_stride = 23; }) == "batch entries of C overlap");
  CHECK(fault_of([](Gemm& g) { g.d.data = nullptr; }) == "D is missing or misaligned");
  CHECK(fault_of([](Gemm& g) { g.a.data = static_cast<const char*>(g.a.data) + 1; }) ==
        "A or B is missing or misaligned");
  CHECK(fault_of([](Gemm& g) {
          g.epilogue = GemmEpilogue::bias;
          g.bias = nullptr;
        }) == "the bias is missing or misaligned");
  CHECK(fault_of([](Gemm& g) { g.c.data = nullptr; }) == "C is missing or misaligned");
  CHECK(fault_of([](Gemm& g) {
          g.m = 0;
          g.c.data = nullptr;
        }) == "none");
}

}  // namespace
}  // namespace hfload::test
