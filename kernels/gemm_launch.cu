#include <cuda_runtime_api.h>

#include "kernels/gemm_launch.h"
#include "kernels/gemm_start.cuh"
#include "kernels/gemm_store.cuh"

namespace hfload {
namespace {

constexpr uint32_t kThreads = 256;
constexpr int64_t kMaxBlocks = 1 << 20;

/// Adds up the partial sums of a split product, in the order of the ranges of K, and finishes C.
template <GemmDtype dtype>
__global__ void __launch_bounds__(kThreads)
    reduce_kernel(const __grid_constant__ Gemm gemm, const __grid_constant__ GemmTiling tiling,
                  const float* __restrict__ partials) {
  constexpr int kCount = GemmElement<dtype>::kPerVector;
  const int64_t per_row = (static_cast<int64_t>(tiling.n) + kCount - 1) / kCount;
  const int64_t parts = per_row * tiling.m * tiling.batch;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < parts; i += stride) {
    const auto column = static_cast<int32_t>(i % per_row * kCount);
    const auto row = static_cast<int32_t>(i / per_row % tiling.m);
    const auto entry = static_cast<int32_t>(i / per_row / tiling.m);
    float sums[kCount] = {};
    for (int32_t split = 0; split < tiling.splits; ++split) {
      float part[kCount];
      const float* const from = partials + partial_index(tiling, entry, split, row, column);
#pragma unroll
      for (int j = 0; j < kCount; ++j) part[j] = column + j < tiling.n ? from[j] : 0.0F;
#pragma unroll
      for (int j = 0; j < kCount; ++j) sums[j] += part[j];
    }
    store_row_part<dtype>(gemm, entry, row, column, sums);
  }
}

int reduce(const Gemm& gemm, const GemmPlan& plan, const float* partials, cudaStream_t stream) {
  const int64_t parts = gemm.batch * gemm.m * ((gemm.n + 3) / 4);
  const int64_t wanted = (parts + kThreads - 1) / kThreads;
  const int64_t blocks = wanted < kMaxBlocks ? wanted : kMaxBlocks;
  const auto kernel = gemm.dtype == GemmDtype::f32   ? reduce_kernel<GemmDtype::f32>
                      : gemm.dtype == GemmDtype::f16 ? reduce_kernel<GemmDtype::f16>
                                                     : reduce_kernel<GemmDtype::bf16>;
  return start_kernel(kernel, {blocks, kThreads}, stream, gemm, plan.tiling, partials);
}

int launch_kernel(const Gemm& gemm, const GemmPlan& plan, float* partials, cudaStream_t stream) {
  switch (plan.rule.kernel) {
    case GemmKernel::naive:
      return launch_naive(gemm, plan, stream);
    case GemmKernel::tiled:
      return launch_tiled(gemm, plan, stream);
    case GemmKernel::vector:
      return launch_vector(gemm, plan, partials, stream);
    case GemmKernel::simt:
      return launch_simt(gemm, plan, partials, stream);
    case GemmKernel::mma:
      return launch_mma(gemm, plan, partials, stream);
    case GemmKernel::wgmma:
      return launch_wgmma(gemm, plan, partials, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace

int query_gemm_device(GemmDevice& device) {
  int ordinal = 0, major = 0, minor = 0, multiprocessors = 0, shared_bytes = 0;
  cudaError_t status = cudaGetDevice(&ordinal);
  const auto ask = [&](cudaDeviceAttr attribute, int& value) {
    if (status == cudaSuccess) status = cudaDeviceGetAttribute(&value, attribute, ordinal);
  };
  ask(cudaDevAttrComputeCapabilityMajor, major);
  ask(cudaDevAttrComputeCapabilityMinor, minor);
  ask(cudaDevAttrMultiProcessorCount, multiprocessors);
  ask(cudaDevAttrMaxSharedMemoryPerBlockOptin, shared_bytes);
  device = {10 * major + minor, multiprocessors, shared_bytes};
  return status;
}

int launch_gemm(const Gemm& gemm, const GemmPlan& plan, void* workspace, CUstream_st* stream) {
  if (gemm.m == 0 || gemm.n == 0 || gemm.batch == 0) return cudaSuccess;
  if (plan.blocks == 0 || (plan.workspace_bytes > 0 && workspace == nullptr)) return cudaErrorInvalidValue;
  auto* const partials = static_cast<float*>(workspace);
  const int status = launch_kernel(gemm, plan, partials, stream);
  if (status != cudaSuccess || plan.tiling.splits == 1) return status;
  return reduce(gemm, plan, partials, stream);
}

}  // namespace hfload
