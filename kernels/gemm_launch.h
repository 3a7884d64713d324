#pragma once

#include "kernels/gemm_device.h"

namespace hfload {

struct LaunchShape {
  int64_t blocks;
  uint32_t threads;          ///< of a block
  int64_t shared_bytes = 0;  ///< dynamic shared memory of a block
  uint32_t cluster = 1;      ///< blocks of a cluster; divides `blocks`
};

/// The launches behind `launch_gemm`, one per kernel. `partials` is where a split product's fp32 sums go, as
/// [splits, batch, m, n]; not read without a split. Each returns a cudaError_t.
int launch_naive(const Gemm& gemm, const GemmPlan& plan, CUstream_st* stream);
int launch_tiled(const Gemm& gemm, const GemmPlan& plan, CUstream_st* stream);
int launch_vector(const Gemm& gemm, const GemmPlan& plan, float* partials, CUstream_st* stream);
int launch_simt(const Gemm& gemm, const GemmPlan& plan, float* partials, CUstream_st* stream);
int launch_mma(const Gemm& gemm, const GemmPlan& plan, float* partials, CUstream_st* stream);
int launch_wgmma(const Gemm& gemm, const GemmPlan& plan, float* partials, CUstream_st* stream);

}  // namespace hfload
