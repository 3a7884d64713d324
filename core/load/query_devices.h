#pragma once

#include <string>

#include "core/plan/device.h"

namespace hfload {

/// What this build and machine can do about GPUs.
struct CudaStatus {
  bool built_in = false;  ///< compiled with the CUDA backend
  int devices = 0;
  /// When devices is 0, why, as what follows "but" and without a full stop: no CUDA build, no driver, driver
  /// too old, no device.
  std::string reason;
};

CudaStatus cuda_status();

/// Free memory of every visible GPU (cudaMemGetInfo) and the memory available to the CPU (MemAvailable of
/// /proc/meminfo, the number psutil gives), as accelerate 1.x's `get_max_memory` without an argument: limits
/// of control groups, which that does not look at, count only when arenas are allocated (host_room).
MaxMemory query_max_memory();

}  // namespace hfload
