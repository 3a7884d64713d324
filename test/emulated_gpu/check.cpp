#include "core/run/gemm_check.cpp"

#include "core/base/error.h"

namespace hfload {

// What the emulated device is, in place of the functions that ask CUDA.
GemmDevice require_gpu(uint32_t) {
  GemmDevice device;
  query_gemm_device(device);
  return device;
}

void check_cuda(cudaError_t status, const char* call, uint32_t) {
  if (status != cudaSuccess) throw Error(ErrorCode::cuda_error, call);
}

}  // namespace hfload
