#include "core/run/cpu_gemm.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "core/base/error.h"
#include "core/run/gemm_check.h"
#include "core/run/onednn_library.h"
#include "test/support/fixtures.h"

namespace hfload::test {
namespace {

template <class Enumerator>
Enumerator named(const std::string& name, int count, const char* (*name_of)(Enumerator)) {
  for (int i = 0; i < count; ++i) {
    if (name == name_of(static_cast<Enumerator>(i))) return static_cast<Enumerator>(i);
  }
  FAIL("no " << name);
  return {};
}

/// Element `index` of operand `seed`, as test/oracle/make_gemms.py makes it.
double oracle_element(uint64_t seed, uint64_t index) {
  const uint64_t mixed = (index * 2654435761U + seed * 40503U) >> 7;
  return (static_cast<double>(mixed % 129) - 64) / 32;
}

/// Within the bound of the contract, everywhere. `before`: the operands as they were.
void require_result(const GemmCase& before, const GemmCase& result) {
  const GemmCase::Shape& s = before.shape;
  for (int64_t e = 0; e < s.batch; ++e) {
    for (int64_t r = 0; r < s.m; ++r) {
      for (int64_t c = 0; c < s.n; ++c) {
        CAPTURE(gemm_dtype_name(s.dtype), gemm_epilogue_name(s.epilogue), s.m, s.n, s.k, e, r, c);
        REQUIRE(std::abs(result.target(e, r, c) - gemm_reference_element(before.gemm, e, r, c)) <=
                gemm_error_bound(before.gemm, e, r, c));
      }
    }
  }
  REQUIRE(result.padding_is(before));
}

ErrorCode code_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.code();
  }
  FAIL("nothing was thrown");
  return ErrorCode::internal;
}

TEST_CASE("on the CPU, products and epilogues are those that torch computes in float64") {
  CpuEngine engine(2);
  const ConfigValue fixture = read_json_fixture("gemms/gemms.json");
  for (const ConfigValue& row : array_of(at(fixture, "gemms"))) {
    const ConfigValue::Array& columns = array_of(row);
    const GemmCase::Shape shape{.dtype = named(string_of(columns[0]), kGemmDtypes, gemm_dtype_name),
                                .epilogue = named(string_of(columns[1]), kGemmEpilogues, gemm_epilogue_name),
                                .m = static_cast<int64_t>(uint_of(columns[2])),
                                .n = static_cast<int64_t>(uint_of(columns[3])),
                                .k = static_cast<int64_t>(uint_of(columns[4])),
                                .batch = static_cast<int64_t>(uint_of(columns[5])),
                                .alpha = static_cast<float>(number_of(columns[6])),
                                .beta = static_cast<float>(number_of(columns[7])),
                                .pad = static_cast<int64_t>(uint_of(columns[8]))};
    const GemmCase before(shape, [](GemmOperand operand, int64_t index) {
      return oracle_element(static_cast<uint64_t>(operand) + 1, static_cast<uint64_t>(index));
    });
    for (const CpuGemmWay way : kCpuGemmWays) {
      GemmCase result = before;
      if (shape.beta == 0) result.poison_target();
      CpuGemm product(engine, before.gemm);
      product.multiply_by(way, result.gemm);
      const ConfigValue::Array& expected = array_of(columns[9]);
      size_t i = 0;
      for (int64_t e = 0; e < shape.batch; ++e) {
        for (int64_t r = 0; r < shape.m; ++r) {
          for (int64_t c = 0; c < shape.n; ++c, ++i) {
            CAPTURE(string_of(columns[0]), string_of(columns[1]), cpu_gemm_way_name(way), e, r, c);
            CHECK(std::abs(result.target(e, r, c) - number_of(expected[i])) <=
                  gemm_error_bound(before.gemm, e, r, c));
          }
        }
      }
      CHECK(result.padding_is(before));
    }
  }
}

TEST_CASE("every product on the CPU is the reference's within its bound, by any number of threads") {
  for (const unsigned threads : {1U, 2U}) {
    CpuEngine engine(threads);
    CHECK(engine.threads() == threads);
    for (const GemmCheck& check : check_cpu_gemms(engine, nullptr)) {
      CAPTURE(check.name(), gemm_dtype_name(check.dtype), threads);
      CHECK(check.first_fault == "");
      CHECK(check.faults == 0);
      // Sizes, by epilogues and the three that are tried with whole numbers too.
      CHECK(check.products == 15 * (8 + 3));
      CHECK(check.elements > 10'000);
    }
  }
}

TEST_CASE("D may be C itself, by every way and epilogue that reads it") {
  CpuEngine engine(2);
  for (const GemmDtype dtype : kGemmDtypeList) {
    for (const GemmEpilogue epilogue :
         {GemmEpilogue::gated_silu, GemmEpilogue::gated_gelu, GemmEpilogue::residual}) {
      for (const int64_t m : {3, 30}) {
        GemmCase before = random_gemm_case(
            {.dtype = dtype, .epilogue = epilogue, .m = m, .n = 37, .k = 50, .beta = 1, .pad = 2}, 3);
        before.gemm.d = {before.gemm.c.data, before.gemm.c.ld, 0};
        GemmCase result = before;
        result.gemm.d = {result.gemm.c.data, result.gemm.c.ld, 0};
        CpuGemm(engine, before.gemm).multiply(result.gemm);
        require_result(before, result);
      }
    }
  }
}

TEST_CASE("a weight is copied, serves any number of rows, and all entries of a batch if it is one") {
  CpuEngine engine(2);
  for (const GemmDtype dtype : kGemmDtypeList) {
    GemmCase weights = random_gemm_case({.dtype = dtype, .n = 45, .k = 70}, 1);
    weights.gemm.b.batch_stride = 0;
    CpuGemm product(engine, weights.gemm);
    const std::vector<std::byte> b = weights.memory[1];
    std::ranges::fill(weights.memory[1], std::byte{0xff});
    for (const int64_t m : {1, 9, 40, 5, 24, 25, 33, 64, 26, 27, 28, 29, 30, 31, 25}) {
      GemmCase before = random_gemm_case({.dtype = dtype, .m = m, .n = 45, .k = 70, .batch = 3}, 2);
      before.gemm.b = {b.data(), 70, 0};
      GemmCase result = before;
      result.poison_target();
      result.gemm.b = {};
      product.multiply(result.gemm);
      require_result(before, result);
    }
  }
}

TEST_CASE("products of many rows are done in parts where the sums would take too much memory") {
  CpuEngine engine(2);
  for (const GemmDtype dtype : kGemmDtypeList) {
    const GemmCase before = random_gemm_case(
        {.dtype = dtype, .epilogue = GemmEpilogue::gated_silu, .m = 50, .n = 40, .k = 30}, 2);
    GemmCase result = before;
    CpuGemm product(engine, before.gemm, 20 * 40 * 4);
    product.multiply(result.gemm);
    require_result(before, result);
  }
}

TEST_CASE("the same call gives the same bits; by rows, for any number of threads") {
  const auto bits = [](unsigned threads, int64_t m) {
    CpuEngine engine(threads);
    GemmCase problem = random_gemm_case({.dtype = GemmDtype::f32, .m = m, .n = 300, .k = 1000}, 8);
    CpuGemm product(engine, problem.gemm);
    product.multiply(problem.gemm);
    const std::vector<std::byte> first = problem.memory[2];
    product.multiply(problem.gemm);
    CHECK((problem.memory[2] == first));
    return first;
  };
  CHECK((bits(2, 40) == bits(2, 40)));
  CHECK((bits(1, 4) == bits(3, 4)));
}

TEST_CASE("what a weight costs: its rows, and what oneDNN multiplies once that is needed") {
  CpuEngine engine(1);
  for (const GemmDtype dtype : kGemmDtypeList) {
    const GemmCase problem = random_gemm_case({.dtype = dtype, .n = 64, .k = 128}, 1);
    CpuGemm product(engine, problem.gemm);
    const auto rows = static_cast<uint64_t>(64 * 128 * gemm_element_bytes(dtype));
    CHECK(product.weight_bytes() == rows);
    product.prepare(8);
    CHECK(product.weight_bytes() == rows);
    product.prepare(25);
    // fp16 is widened everywhere.
    if (dtype == GemmDtype::f16) CHECK(product.weight_bytes() >= rows + 64 * 128 * 4);
  }
}

TEST_CASE("on the CPU, what breaks the contract is an error") {
  CpuEngine engine(1);
  GemmCase problem = random_gemm_case({.m = 10, .n = 6, .k = 8, .batch = 2}, 1);
  CpuGemm product(engine, problem.gemm);
  const auto code = [&](auto change) {
    Gemm gemm = problem.gemm;
    change(gemm);
    return code_of([&] { product.multiply(gemm); });
  };
  CHECK(code([](Gemm& g) { g.k = 7; }) == ErrorCode::internal);
  CHECK(code([](Gemm& g) { g.n = 5; }) == ErrorCode::internal);
  CHECK(code([](Gemm& g) { g.dtype = GemmDtype::bf16; }) == ErrorCode::internal);
  CHECK(code([](Gemm& g) { g.batch = 3; }) == ErrorCode::internal);
  CHECK(code([](Gemm& g) { g.c.ld = 5; }) == ErrorCode::internal);
  CHECK(code([](Gemm& g) { g.m = int64_t{1} << 31; }) == ErrorCode::internal);
  const auto weight_code = [&](auto change) {
    Gemm gemm = problem.gemm;
    change(gemm);
    return code_of([&] { CpuGemm(engine, gemm); });
  };
  CHECK(weight_code([](Gemm& g) { g.b.data = nullptr; }) == ErrorCode::internal);
  CHECK(weight_code([](Gemm& g) { g.b.ld = 7; }) == ErrorCode::internal);
  CHECK(weight_code([](Gemm& g) { g.n = -1; }) == ErrorCode::internal);
  // 2^62 elements of 4 bytes: the number of bytes does not fit in 64 bits.
  CHECK(weight_code([](Gemm& g) {
          g.n = g.k = g.b.ld = (int64_t{1} << 31) - 1;
          g.batch = 8;
          g.b.batch_stride = int64_t{1} << 40;
        }) == ErrorCode::out_of_memory);
  CHECK(code_of([] { check_onednn(dnnl_out_of_memory, "x"); }) == ErrorCode::out_of_memory);
  CHECK(code_of([] { check_onednn(dnnl_unimplemented, "x"); }) == ErrorCode::onednn_error);
  CHECK_NOTHROW(check_onednn(dnnl_success, "x"));
}

TEST_CASE("a check of products sees a wrong element, one left out, and one outside") {
  const GemmTrial trial{{.epilogue = GemmEpilogue::bias, .m = 3, .n = 4, .k = 40, .pad = 1}, false};
  const GemmExpectation expected(trial);
  GemmCase right = expected.before();
  gemm_reference(right.gemm);
  const GemmVerdict verdict = expected.judge(right);
  CHECK(verdict.fault == "");
  CHECK(verdict.elements == 12);
  const auto fault_of = [&](int64_t index, double value) {
    GemmCase wrong = right;
    gemm_store(GemmDtype::f32, wrong.memory[2].data(), index, value);
    return expected.judge(wrong).fault;
  };
  CHECK(fault_of(7, right.target(0, 1, 2) + 0.01).starts_with("element [0, 1, 2] is "));
  CHECK(fault_of(7, std::nan("")) == "left an element unwritten");
  CHECK(fault_of(4, 1e9) == "wrote outside of C");
}

}  // namespace
}  // namespace hfload::test
