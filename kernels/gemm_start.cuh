#pragma once

#include <cuda_runtime_api.h>

#include "kernels/gemm_launch.h"

namespace hfload {

/// Starts a kernel. Returns a cudaError_t.
template <class... Parameters, class... Arguments>
int start_kernel(void (*kernel)(Parameters...), const LaunchShape& shape, cudaStream_t stream,
                 const Arguments&... arguments) {
  if (shape.shared_bytes > 0) {
    const cudaError_t status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                    static_cast<int>(shape.shared_bytes));
    if (status != cudaSuccess) return status;
  }
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim = {shape.cluster, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(shape.blocks));
  config.blockDim = dim3(shape.threads);
  config.dynamicSmemBytes = static_cast<size_t>(shape.shared_bytes);
  config.stream = stream;
  config.attrs = &cluster;
  config.numAttrs = shape.cluster > 1 ? 1 : 0;
  return cudaLaunchKernelEx(&config, kernel, arguments...);
}

}  // namespace hfload
