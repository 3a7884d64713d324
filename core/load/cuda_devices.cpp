#include "core/load/cuda_devices.h"

#include <fmt/core.h>

#include "core/base/error.h"
#include "core/load/cuda_check.h"
#include "core/load/query_devices.h"

namespace hfload {
namespace {

/// "13.0" from CUDA's 13000.
std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

std::string reason_for(cudaError_t status) {
  int driver = 0;
  if (status == cudaErrorInsufficientDriver) {
    // CUDA gives this error also where no driver is installed at all; then the driver's version is 0.
    if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
      return "this machine has no NVIDIA driver";
    return fmt::format("the NVIDIA driver supports CUDA up to {}, and this hfload needs {}",
                       version_text(driver), version_text(CUDART_VERSION));
  }
  if (status == cudaErrorNoDevice || status == cudaSuccess) return "the NVIDIA driver finds no GPU";
  return fmt::format("CUDA cannot be used: {} ({})", cudaGetErrorString(status), cudaGetErrorName(status));
}

}  // namespace

CudaStatus cuda_status() {
  CudaStatus result{.built_in = true, .devices = 0, .reason = {}};
  const cudaError_t status = cudaGetDeviceCount(&result.devices);
  if (status != cudaSuccess) result.devices = 0;
  if (result.devices == 0) result.reason = reason_for(status);
  cudaGetLastError();  // the failed call must not show up in a later one
  return result;
}

std::optional<uint64_t> free_cuda_bytes(int ordinal) {
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  const bool known =
      cudaSetDevice(ordinal) == cudaSuccess && cudaMemGetInfo(&free_bytes, &total_bytes) == cudaSuccess;
  cudaGetLastError();
  if (!known) return std::nullopt;
  return free_bytes;
}

void check_cuda(cudaError_t status, const char* call, uint32_t ordinal) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  const ErrorCode code =
      status == cudaErrorMemoryAllocation ? ErrorCode::out_of_memory : ErrorCode::cuda_error;
  throw Error(code, fmt::format("{} failed on GPU {}: {} ({})", call, ordinal, cudaGetErrorString(status),
                                cudaGetErrorName(status)));
}

}  // namespace hfload
