#include "core/base/error.h"
#include "core/run/gemm_bench.h"
#include "core/run/gemm_check.h"

namespace hfload {
namespace {

Error no_cuda() {
  return Error(ErrorCode::no_cuda, "the kernels cannot run: this hfload was built without CUDA")
      .with_hint(
          "Build with the CUDA Toolkit installed, on a machine with an NVIDIA GPU, or give --cpu for the "
          "products on the CPU.");
}

}  // namespace

std::vector<GemmCheck> check_gemms(uint32_t, int64_t, const std::function<void(double)>&) { throw no_cuda(); }
GemmBench bench_gemms(uint32_t, const std::function<void(double)>&) { throw no_cuda(); }

}  // namespace hfload
