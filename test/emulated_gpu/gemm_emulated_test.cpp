#include <catch2/catch.hpp>
#include <cmath>

#include "core/run/gemm_check.h"
#include "kernels/gemm_case.h"
#include "kernels/gemm_device.h"
#include "test/emulated_gpu/emulator.h"

namespace hfload::test {
namespace {

struct Size {
  int64_t m, n, k, batch, pad;
};
constexpr Size kSizes[] = {
    {1, 1, 1, 1, 0},      {1, 7, 13, 1, 3},     {3, 5, 0, 1, 0},      {2, 9, 2056, 1, 8},
    {7, 6, 1040, 2, 0},   {16, 72, 320, 1, 0},  {17, 33, 72, 2, 8},   {65, 70, 129, 1, 0},
    {70, 130, 200, 1, 8}, {130, 259, 72, 1, 8}, {40, 24, 1096, 3, 0}, {70, 66, 198, 2, 0},
    {9, 40, 71, 1, 1},    {67, 70, 197, 3, 0},  {20, 65, 1090, 1, 1}, {65, 33, 8, 2, 1}};
/// What splits K into several ranges in shapes that are small enough to emulate.
constexpr GemmDevice kDevice{90, 4, 232'448};

GemmCase case_of(const Size& size, GemmDtype dtype, GemmEpilogue epilogue, bool scaled, bool exact) {
  const GemmCase::Shape shape{.dtype = dtype,
                              .epilogue = epilogue,
                              .m = size.m,
                              .n = size.n,
                              .k = size.k,
                              .batch = size.batch,
                              .alpha = scaled ? -2.0F : 1.0F,
                              .beta = scaled ? 0.5F : 0.0F,
                              .pad = size.pad};
  return exact ? exact_gemm_case(shape, 5) : random_gemm_case(shape, 6);
}

/// Computes by a plan on the emulated GPU and compares every element, and the memory around them.
void check(const GemmPlan& plan, const GemmCase& problem, bool exact) {
  GemmCase before = problem;
  if (before.shape.beta == 0) before.poison_target();
  GemmCase result = before;
  std::vector<float> workspace(static_cast<size_t>(plan.workspace_bytes / 4), NAN);
  REQUIRE(launch_gemm(result.gemm, plan, workspace.data(), nullptr) == 0);
  CHECK(result.padding_is(before));
  int faults = 0;
  for (int64_t e = 0; e < problem.shape.batch; ++e) {
    for (int64_t r = 0; r < problem.shape.m; ++r) {
      for (int64_t c = 0; c < problem.shape.n; ++c) {
        double wanted = gemm_reference_element(problem.gemm, e, r, c);
        if (exact) {
          std::byte rounded[4];
          gemm_store(problem.shape.dtype, rounded, 0, wanted);
          wanted = gemm_load(problem.shape.dtype, rounded, 0);
        }
        const double bound = exact ? 0 : gemm_error_bound(problem.gemm, e, r, c);
        faults += std::abs(result.target(e, r, c) - wanted) <= bound ? 0 : 1;
      }
    }
  }
  CHECK(faults == 0);
}

void check_kernel(GemmKernel kernel) {
  int products = 0, by_half_words = 0;
  for (const Emulator::Timing timing : {Emulator::Timing::eager, Emulator::Timing::lazy}) {
    Emulator::current().set_timing(timing);
    int trial = 0;
    for (const GemmRule& rule : gemm_rules()) {
      if (rule.kernel != kernel) continue;
      for (const Size& size : kSizes) {
        for (const GemmDtype dtype : {GemmDtype::f32, GemmDtype::f16, GemmDtype::bf16}) {
          const auto epilogue = static_cast<GemmEpilogue>(trial % kGemmEpilogues);
          const bool exact = trial % 4 < 2;
          const GemmCase problem =
              case_of(size, dtype, exact ? GemmEpilogue::none : epilogue, trial % 3 == 0, exact);
          if (!can_run(rule, problem.gemm, kDevice)) continue;
          // Rows that wider loads can read are the other rules'.
          if (kernel == GemmKernel::mma && rule.aligned < plan_gemm(problem.gemm, kDevice).rule.aligned)
            continue;
          // Half of them each time: fibers are slow.
          if (++trial % 2 != static_cast<int>(timing) % 2) continue;
          ++products;
          by_half_words += rule.aligned == 2;
          CAPTURE(gemm_kernel_name(kernel), rule.tile_m, rule.tile_n, size.m, size.n, size.k,
                  gemm_dtype_name(dtype), static_cast<int>(timing), exact,
                  gemm_epilogue_name(problem.shape.epilogue));
          check(plan_gemm_by(rule, problem.gemm, kDevice), problem, exact);
        }
      }
    }
  }
  CHECK(products > 10);
  if (kernel == GemmKernel::mma) CHECK(by_half_words > 5);
}

TEST_CASE("emulated: the naive kernel computes the reference's product") { check_kernel(GemmKernel::naive); }
TEST_CASE("emulated: the tiled kernel computes the reference's product") { check_kernel(GemmKernel::tiled); }
TEST_CASE("emulated: the vector kernel computes the reference's product") {
  check_kernel(GemmKernel::vector);
}
TEST_CASE("emulated: the simt kernel computes the reference's product") { check_kernel(GemmKernel::simt); }
TEST_CASE("emulated: the mma kernel computes the reference's product") { check_kernel(GemmKernel::mma); }
TEST_CASE("emulated: the wgmma kernel computes the reference's product") { check_kernel(GemmKernel::wgmma); }

/// The plan by a rule with that cluster, whether or not the dispatch would choose it.
GemmPlan plan_in_clusters(const GemmRule& rule, const Gemm& gemm, const GemmDevice& device, int32_t cluster_m,
                          int32_t cluster_n) {
  GemmPlan plan = plan_gemm_by(rule, gemm, device);
  plan.tiling.cluster_m = cluster_m;
  plan.tiling.cluster_n = cluster_n;
  plan.blocks = gemm_blocks(rule, plan.tiling, device);
  return plan;
}

TEST_CASE("emulated: the wgmma kernel computes the reference's product in pairs of blocks along M and N") {
  // One tile, whose second block has none; odd numbers of tiles along M and along N, more than there are
  // blocks; ranges of K; batches; K longer than the ring.
  constexpr Size kPairs[] = {{100, 72, 136, 1, 0},  {300, 200, 72, 1, 8}, {130, 600, 72, 1, 0},
                             {70, 100, 1096, 1, 0}, {200, 40, 136, 3, 0}, {129, 129, 584, 1, 8}};
  int trial = 0, idle_blocks = 0, split_products = 0, fewer_blocks = 0;
  for (const GemmRule& rule : gemm_rules()) {
    if (rule.kernel != GemmKernel::wgmma) continue;
    for (const Size& size : kPairs) {
      for (const bool along_m : {true, false}) {
        const bool eager = ++trial % 3 == 0, exact = trial % 4 < 2;
        Emulator::current().set_timing(eager ? Emulator::Timing::eager : Emulator::Timing::lazy);
        const GemmDtype dtype = trial % 5 < 2 ? GemmDtype::f16 : GemmDtype::bf16;
        const auto epilogue = exact ? GemmEpilogue::none : static_cast<GemmEpilogue>(trial % kGemmEpilogues);
        const GemmCase problem = case_of(size, dtype, epilogue, trial % 3 == 0, exact);
        const GemmPlan plan = plan_in_clusters(rule, problem.gemm, kDevice, along_m ? 2 : 1, along_m ? 1 : 2);
        CAPTURE(rule.tile_n, size.m, size.n, size.k, size.batch, along_m, gemm_dtype_name(dtype), eager,
                exact, gemm_epilogue_name(epilogue));
        check(plan, problem, exact);
        idle_blocks += plan.tiling.cluster_items() * 2 > plan.tiling.items();
        split_products += plan.tiling.splits > 1;
        fewer_blocks += plan.blocks < kDevice.multiprocessors;
      }
    }
  }
  CHECK(idle_blocks > 10);
  CHECK(split_products > 2);
  CHECK(fewer_blocks > 2);
}

TEST_CASE("emulated: hfload gemm's check finds no fault in any kernel that can compute small products") {
  Emulator::current().set_timing(Emulator::Timing::lazy);
  double done = 0;
  uint64_t products = 0;
  for (const GemmCheck& check : check_gemms(0, 3000, [&](double part) { done = part; })) {
    CAPTURE(check.name(), gemm_dtype_name(check.dtype));
    CHECK(check.first_fault == "");
    CHECK(check.faults == 0);
    products += check.products;
  }
  CHECK(products > 300);
  CHECK(done > 0);
}

TEST_CASE("emulated: all epilogues of a split product") {
  for (int i = 0; i < kGemmEpilogues; ++i) {
    const GemmCase problem =
        case_of({12, 40, 1096, 1, 0}, GemmDtype::bf16, static_cast<GemmEpilogue>(i), true, false);
    CAPTURE(i);
    const GemmPlan plan = plan_gemm(problem.gemm, kDevice);
    CHECK(plan.tiling.splits > 1);
    check(plan, problem, false);
  }
}

}  // namespace
}  // namespace hfload::test
