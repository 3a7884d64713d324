#pragma once

#include <string>

#include "core/plan/device.h"

namespace hfload {

/// What this build and machine can do about GPUs.
struct CudaStatus {
  bool built_in = false;  ///< compiled with the CUDA backend
  int devices = 0;
  std::string
      reason;  ///< one sentence when devices is 0: no CUDA build, no driver, driver too old, no device
};

CudaStatus cuda_status();

/// Free memory of every visible GPU (cudaMemGetInfo) and the memory available to the CPU (MemAvailable of
/// /proc/meminfo, the number psutil gives), as accelerate 1.x's `get_max_memory` without an argument.
MaxMemory query_max_memory();

}  // namespace hfload
