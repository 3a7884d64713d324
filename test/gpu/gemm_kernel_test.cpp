#include <catch2/catch.hpp>

#include "core/run/gemm_check.h"
#include "kernels/gemm_case.h"
#include "kernels/gemm_device.h"
#include "test/gpu/device_buffer.h"

namespace hfload::test {
namespace {

TEST_CASE("every product of every kernel is the reference's within its bound") {
  for (const GemmCheck& check : check_gemms(0, 4'000'000, nullptr)) {
    CAPTURE(check.name(), gemm_dtype_name(check.dtype));
    CHECK(check.first_fault == "");
    CHECK(check.faults == 0);
    if (check.kernel != "wgmma") CHECK(check.products > 0);
  }
}

TEST_CASE("a split product gives the same bits every time") {
  GemmCase::Shape shape;
  shape.dtype = GemmDtype::bf16;
  shape.m = 32;
  shape.n = 256;
  shape.k = 4096;
  GemmCase problem = random_gemm_case(shape, 4);
  GemmDevice device;
  require_success(static_cast<cudaError_t>(query_gemm_device(device)));
  const DeviceBuffer a(problem.memory[0]), b(problem.memory[1]), c(problem.memory[2].size());
  problem.gemm.a.data = a.data();
  problem.gemm.b.data = b.data();
  problem.gemm.c.data = c.data();
  const GemmPlan plan = plan_gemm(problem.gemm, device);
  REQUIRE(plan.tiling.splits > 1);
  const DeviceBuffer workspace(static_cast<size_t>(plan.workspace_bytes));
  std::vector<std::byte> first;
  for (int i = 0; i < 10; ++i) {
    require_success(static_cast<cudaError_t>(launch_gemm(problem.gemm, plan, workspace.data(), nullptr)));
    require_success(cudaDeviceSynchronize());
    if (i == 0) first = c.content();
    CHECK((c.content() == first));
  }
}

}  // namespace
}  // namespace hfload::test
