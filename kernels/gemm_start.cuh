#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace hfload {

/// Starts a kernel with that much dynamic shared memory. Returns a cudaError_t.
template <class... Parameters, class... Arguments>
int start_kernel(void (*kernel)(Parameters...), int64_t blocks, uint32_t threads, int64_t shared_bytes,
                 cudaStream_t stream, const Arguments&... arguments) {
  if (shared_bytes > 0) {
    const cudaError_t status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                    static_cast<int>(shared_bytes));
    if (status != cudaSuccess) return status;
  }
  kernel<<<static_cast<unsigned>(blocks), threads, static_cast<size_t>(shared_bytes), stream>>>(arguments...);
  return cudaGetLastError();
}

}  // namespace hfload
