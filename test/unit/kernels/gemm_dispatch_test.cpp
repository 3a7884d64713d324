#include "kernels/gemm_dispatch.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "kernels/gemm_case.h"
#include "kernels/gemm_epilogue.h"

namespace hfload::test {
namespace {

constexpr GemmDevice kA100{80, 108, 166'912};
constexpr GemmDevice kA10{86, 72, 101'376};
constexpr GemmDevice kH100{90, 132, 232'448};
constexpr GemmDevice kB200{100, 148, 232'448};

/// A product of contiguous matrices; no memory is read to plan it.
Gemm contiguous(GemmDtype dtype, int64_t m, int64_t n, int64_t k, int64_t batch = 1) {
  alignas(16) static std::byte memory[16];
  Gemm gemm;
  gemm.dtype = dtype;
  gemm.m = m;
  gemm.n = n;
  gemm.k = k;
  gemm.batch = batch;
  gemm.a = {memory, k, m * k};
  gemm.b = {memory, k, n * k};
  gemm.c = {memory, n, m * n};
  return gemm;
}

std::string choice(const Gemm& gemm, const GemmDevice& device) {
  const GemmPlan plan = plan_gemm(gemm, device);
  return std::string(gemm_kernel_name(plan.rule.kernel)) + " " + std::to_string(plan.rule.tile_m) + "x" +
         std::to_string(plan.rule.tile_n);
}

TEST_CASE("kernels are chosen by shape, dtype and device") {
  CHECK(choice(contiguous(GemmDtype::bf16, 8192, 8192, 8192), kH100) == "wgmma 128x256");
  CHECK(choice(contiguous(GemmDtype::f16, 512, 4096, 4096), kH100) == "wgmma 128x128");
  CHECK(choice(contiguous(GemmDtype::bf16, 8192, 8192, 8192), kA100) == "mma 128x128");
  CHECK(choice(contiguous(GemmDtype::bf16, 8192, 8192, 8192), kA10) == "mma 128x128");
  // wgmma is Hopper's alone: code for 9.0a does not run on 10.0.
  CHECK(choice(contiguous(GemmDtype::bf16, 8192, 8192, 8192), kB200) == "mma 128x128");
  CHECK(choice(contiguous(GemmDtype::bf16, 256, 512, 4096), kA100) == "mma 64x64");
  CHECK(choice(contiguous(GemmDtype::f16, 1, 4096, 4096), kH100) == "vector 8x4");
  CHECK(choice(contiguous(GemmDtype::f16, 9, 4096, 4096), kH100) == "mma 16x64");
  CHECK(choice(contiguous(GemmDtype::f16, 64, 4096, 4096), kH100) == "mma 64x64");
  CHECK(choice(contiguous(GemmDtype::f32, 8, 4096, 4096), kA100) == "vector 8x4");
  CHECK(choice(contiguous(GemmDtype::f32, 4096, 4096, 4096), kH100) == "simt 128x128");
  CHECK(choice(contiguous(GemmDtype::f32, 64, 4096, 4097), kH100) == "simt 64x64");
  CHECK(choice(contiguous(GemmDtype::f16, 64, 4096, 4095), kH100) == "mma 64x64");
  CHECK(plan_gemm(contiguous(GemmDtype::f16, 64, 4096, 4095), kH100).rule.aligned == 2);
  CHECK(choice(contiguous(GemmDtype::f16, 4096, 4096, 4094), kH100) == "mma 64x64");
  CHECK(plan_gemm(contiguous(GemmDtype::f16, 4096, 4096, 4094), kH100).rule.aligned == 4);
  CHECK(choice(contiguous(GemmDtype::f16, 64, 4096, 0), kH100) == "tiled 32x32");
  CHECK(plan_gemm(contiguous(GemmDtype::f32, 64, 64, 64), {75, 40, 65'536}).blocks == 0);
}

TEST_CASE("Hopper's blocks work in pairs where that costs no round") {
  const auto cluster = [](int64_t m, int64_t n, int64_t k, const GemmDevice& device, int64_t batch = 1) {
    const GemmPlan plan = plan_gemm(contiguous(GemmDtype::bf16, m, n, k, batch), device);
    return std::vector<int64_t>{plan.tiling.cluster_m, plan.tiling.cluster_n, plan.blocks};
  };
  using Cluster = std::vector<int64_t>;
  // 64 x 32 tiles: 16 rounds of 132 blocks, or of 66 pairs that share B's tile.
  CHECK(cluster(8192, 8192, 8192, kH100) == Cluster{2, 1, 132});
  CHECK(cluster(512, 4096, 4096, kH100) == Cluster{2, 1, 128});
  // One row of tiles, and three, where pairs along M would leave a block without a tile: A's tile is shared.
  CHECK(cluster(128, 8192, 4096, kH100) == Cluster{1, 2, 128});
  CHECK(cluster(384, 4096, 4096, kH100) == Cluster{1, 2, 96});
  // 3 x 3 tiles in 14 ranges of K: with a tile too many in each pair there would be a second round.
  CHECK(cluster(384, 384, 4096, kH100) == Cluster{1, 1, 126});
  // Single tiles have nobody to share with; mma kernels share nothing.
  CHECK(cluster(128, 128, 64, kH100, 60) == Cluster{1, 1, 60});
  CHECK(cluster(8192, 8192, 8192, kA100)[0] == 1);
  // An odd number of multiprocessors, and one alone.
  CHECK(cluster(8192, 8192, 8192, {90, 133, 232'448}) == Cluster{2, 1, 132});
  CHECK(cluster(8192, 8192, 8192, {90, 1, 232'448}) == Cluster{1, 1, 1});
}

TEST_CASE("any product has a plan that fits its device, whose workspace is what its splits need") {
  std::mt19937 random(2);
  const GemmDevice devices[] = {kA100, kA10, kH100, kB200};
  for (int trial = 0; trial < 20'000; ++trial) {
    const auto size = [&] {
      return static_cast<int64_t>(std::exp2(static_cast<double>(random() % 1400) / 100));
    };
    Gemm gemm = contiguous(kGemmDtypeList[random() % 3], size(), size(), size() - 1,
                           1 + static_cast<int64_t>(random() % 3));
    const GemmDevice& device = devices[random() % 4];
    const GemmPlan plan = plan_gemm(gemm, device);
    CAPTURE(gemm.m, gemm.n, gemm.k, device.capability);
    REQUIRE(plan.blocks > 0);
    REQUIRE(can_run(plan.rule, gemm, device));
    REQUIRE(plan.blocks <= plan.tiling.cluster_items() * plan.tiling.cluster());
    REQUIRE(plan.blocks % plan.tiling.cluster() == 0);
    REQUIRE(plan.tiling.cluster() <= plan.rule.cluster);
    REQUIRE(plan.shared_bytes <= device.shared_bytes);
    const int64_t partials = plan.tiling.splits * gemm.batch * gemm.m * gemm.n * 4;
    REQUIRE(plan.workspace_bytes == (plan.tiling.splits > 1 ? partials : 0));
    REQUIRE(plan.workspace_bytes <= 64 << 20);
    REQUIRE(plan.tiling.splits <= std::max(1, plan.tiling.k_units()));
    const GemmPlan again = plan_gemm(gemm, device);
    REQUIRE(again.tiling.splits == plan.tiling.splits);
  }
}

TEST_CASE("few tiles with a long K are split until the device is busy") {
  const GemmPlan narrow = plan_gemm(contiguous(GemmDtype::bf16, 32, 1024, 8192), kH100);
  CHECK(narrow.tiling.tiles() == 16);
  CHECK(narrow.tiling.splits == 24);  // 3 blocks for each of 132 multiprocessors, 16 tiles
  CHECK(plan_gemm(contiguous(GemmDtype::bf16, 8192, 8192, 8192), kH100).tiling.splits == 1);
}

TEST_CASE("rows that 16-byte loads cannot read are read by 4 bytes, or by 2") {
  Gemm gemm = contiguous(GemmDtype::f16, 128, 128, 128);
  const auto aligned = [&] { return plan_gemm(gemm, kA100).rule.aligned; };
  gemm.b.ld = 131;
  CHECK(choice(gemm, kA100) == "mma 64x64");
  CHECK(aligned() == 2);
  gemm.b.ld = 132;
  CHECK(choice(gemm, kA100) == "mma 64x64");
  CHECK(aligned() == 4);
  gemm.b.ld = 136;
  CHECK(choice(gemm, kA100) == "mma 64x64");
  CHECK(aligned() == 16);
  gemm.a.data = static_cast<const std::byte*>(gemm.a.data) + 2;
  CHECK(choice(gemm, kA100) == "mma 64x64");
  CHECK(aligned() == 2);
}

TEST_CASE("the epilogue in fp32 is the reference's within the error bound") {
  for (int e = 0; e < kGemmEpilogues; ++e) {
    GemmCase::Shape shape;
    shape.epilogue = static_cast<GemmEpilogue>(e);
    shape.m = 40;
    shape.n = 50;
    shape.beta = 3;
    const GemmCase problem = random_gemm_case(shape, static_cast<unsigned>(e));
    for (int64_t r = 0; r < shape.m; ++r) {
      for (int64_t c = 0; c < shape.n; ++c) {
        const auto load = [&](const void* data, int64_t index) {
          return static_cast<float>(gemm_load(shape.dtype, data, index));
        };
        float x[1] = {load(problem.gemm.a.data, r) * load(problem.gemm.b.data, c) +
                      3 * load(problem.gemm.c.data, r * shape.n + c)};
        const float bias[1] = {load(problem.gemm.bias, c)};
        const float d[1] = {load(problem.gemm.d.data, r * shape.n + c)};
        apply_epilogue(shape.epilogue, x, bias, d);
        const double difference =
            std::abs(static_cast<double>(x[0]) - gemm_reference_element(problem.gemm, 0, r, c));
        CHECK(difference <= gemm_error_bound(problem.gemm, 0, r, c));
      }
    }
  }
}

}  // namespace
}  // namespace hfload::test
