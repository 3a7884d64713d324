#pragma once

#include <cuda_runtime_api.h>

#include "kernels/gemm_launch.h"

namespace hfload {

template <class... Parameters, class... Arguments>
int start_kernel(void (*kernel)(Parameters...), const LaunchShape& shape, cudaStream_t,
                 const Arguments&... arguments) {
  test::Emulator::current().run(shape.blocks, shape.threads, shape.shared_bytes, shape.cluster,
                                [&] { kernel(arguments...); });
  return cudaSuccess;
}

}  // namespace hfload
