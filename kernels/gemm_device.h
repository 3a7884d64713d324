#pragma once

#include "kernels/gemm_dispatch.h"

struct CUstream_st;

namespace hfload {

/// What the current CUDA device is. Returns the cudaError_t of asking (0: none).
int query_gemm_device(GemmDevice& device);

/// Starts the product on the current device, in order on `stream`, by a plan that was made for it. All
/// pointers are device memory; `workspace` is `plan.workspace_bytes` of it, at a multiple of 16, which no
/// product in flight on another stream uses. Returns the cudaError_t of the launch (0: none).
int launch_gemm(const Gemm& gemm, const GemmPlan& plan, void* workspace, CUstream_st* stream);

}  // namespace hfload
