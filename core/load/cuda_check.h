#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace hfload {

/// Throws Error(cuda_error), or Error(out_of_memory) for cudaErrorMemoryAllocation, naming call and device,
/// unless `status` is cudaSuccess.
void check_cuda(cudaError_t status, const char* call, uint32_t ordinal);

}  // namespace hfload
