#include "core/run/require_gpu.h"

#include <cuda_runtime_api.h>
#include <fmt/core.h>

#include "core/base/error.h"
#include "core/load/cuda_check.h"
#include "core/load/query_devices.h"
#include "kernels/gemm_device.h"

namespace hfload {

GemmDevice require_gpu(uint32_t ordinal) {
  const CudaStatus status = cuda_status();
  if (status.devices == 0) {
    throw Error(ErrorCode::no_cuda, fmt::format("the kernels cannot run: {}", status.reason))
        .with_hint(
            "Run this on a machine with an NVIDIA GPU of compute capability 8.0 or later, or give --cpu for "
            "the products on the CPU.");
  }
  check_cuda(cudaSetDevice(static_cast<int>(ordinal)), "cudaSetDevice", ordinal);
  GemmDevice device;
  check_cuda(static_cast<cudaError_t>(query_gemm_device(device)), "cudaDeviceGetAttribute", ordinal);
  if (device.capability < 80) {
    throw Error(ErrorCode::no_cuda,
                fmt::format("GPU {} has compute capability {}.{}, and the kernels need 8.0", ordinal,
                            device.capability / 10, device.capability % 10))
        .with_hint("Use a GPU of the Ampere generation or later, or give --cpu for the products on the CPU.");
  }
  return device;
}

}  // namespace hfload
