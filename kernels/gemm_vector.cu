#include <cuda_runtime_api.h>

#include "kernels/gemm_launch.h"
#include "kernels/gemm_ptx.cuh"
#include "kernels/gemm_start.cuh"
#include "kernels/gemm_store.cuh"

namespace hfload {
namespace {

constexpr int32_t kWarps = 4;
constexpr int32_t kColumns = 4;  // of C a block makes: 4 rows of B, so that 4 loads of a thread are under way

/// `valid` of the vector's elements lie within K; the others become 0.
template <GemmDtype dtype>
__device__ uint4 load_part(const typename GemmElement<dtype>::Bits* from, int32_t valid) {
  GemmVector<dtype> vector;
#pragma unroll
  for (int i = 0; i < GemmElement<dtype>::kPerVector; ++i) {
    vector.elements[i] = i < valid ? from[i] : typename GemmElement<dtype>::Bits{};
  }
  return vector.words;
}

/// For up to `rows` rows of A. What such a product costs is reading B, once: the four warps of a block read
/// neighbouring 16 bytes of the same four rows of B and add up their parts in a fixed order.
template <GemmDtype dtype, int32_t rows>
__global__ void __launch_bounds__(kWarps * 32, rows == 8 ? 3 : 4)
    vector_kernel(const __grid_constant__ Gemm gemm, const __grid_constant__ GemmTiling tiling,
                  float* partials) {
  using Element = GemmElement<dtype>;
  using Bits = typename Element::Bits;
  constexpr int32_t kVector = Element::kPerVector;
  constexpr int32_t kSums = rows * kColumns;
  __shared__ float warp_sums[kWarps][kSums];
  const auto thread = static_cast<int32_t>(threadIdx.x);
  for (int64_t item = blockIdx.x; item < tiling.items(); item += gridDim.x) {
    const GemmWork work = gemm_work(tiling, item);
    // Rows past the edge repeat the last one; their sums are dropped.
    const Bits* a[rows];
    const Bits* b[kColumns];
#pragma unroll
    for (int32_t r = 0; r < rows; ++r) {
      a[r] = element_at<dtype>(gemm.a, work.entry, r < tiling.m ? r : tiling.m - 1, 0);
    }
#pragma unroll
    for (int32_t c = 0; c < kColumns; ++c) {
      const int32_t column = work.column + c;
      b[c] = element_at<dtype>(gemm.b, work.entry, column < tiling.n ? column : tiling.n - 1, 0);
    }
    float sums[rows][kColumns] = {};
#pragma unroll 2
    for (int32_t unit = work.unit_begin; unit < work.unit_end; ++unit) {
      const int32_t k = unit * tiling.k_unit + thread * kVector;
      const int32_t valid = tiling.k - k;
      if (valid <= 0) break;
      float weights[kColumns][kVector];
#pragma unroll
      for (int32_t c = 0; c < kColumns; ++c) {
        GemmVector<dtype> vector;
        vector.words = valid >= kVector ? load_streaming(b[c] + k) : load_part<dtype>(b[c] + k, valid);
#pragma unroll
        for (int32_t i = 0; i < kVector; ++i) weights[c][i] = Element::to_float(vector.elements[i]);
      }
#pragma unroll
      for (int32_t r = 0; r < rows; ++r) {
        GemmVector<dtype> vector;
        vector.words = valid >= kVector ? __ldg(reinterpret_cast<const uint4*>(a[r] + k))
                                        : load_part<dtype>(a[r] + k, valid);
#pragma unroll
        for (int32_t i = 0; i < kVector; ++i) {
          const float x = Element::to_float(vector.elements[i]);
#pragma unroll
          for (int32_t c = 0; c < kColumns; ++c) sums[r][c] += x * weights[c][i];
        }
      }
    }
#pragma unroll
    for (int32_t i = 0; i < kSums; ++i) {
      float sum = sums[i / kColumns][i % kColumns];
#pragma unroll
      for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffffU, sum, lanes);
      if (thread % 32 == 0) warp_sums[thread / 32][i] = sum;
    }
    __syncthreads();
    if (thread < kSums) {
      float sum[1] = {0.0F};
#pragma unroll
      for (int32_t warp = 0; warp < kWarps; ++warp) sum[0] += warp_sums[warp][thread];
      store_sums<dtype>(gemm, tiling, partials, work, thread / kColumns, work.column + thread % kColumns,
                        sum);
    }
    __syncthreads();
  }
}

template <GemmDtype dtype, int32_t rows>
int start(const Gemm& gemm, const GemmPlan& plan, float* partials, cudaStream_t stream) {
  return start_kernel(vector_kernel<dtype, rows>, {plan.blocks, kWarps * 32}, stream, gemm, plan.tiling,
                      partials);
}

template <GemmDtype dtype>
int start_rows(const Gemm& gemm, const GemmPlan& plan, float* partials, cudaStream_t stream) {
  if (gemm.m == 1) return start<dtype, 1>(gemm, plan, partials, stream);
  if (gemm.m == 2) return start<dtype, 2>(gemm, plan, partials, stream);
  if (gemm.m <= 4) return start<dtype, 4>(gemm, plan, partials, stream);
  return start<dtype, 8>(gemm, plan, partials, stream);
}

}  // namespace

int launch_vector(const Gemm& gemm, const GemmPlan& plan, float* partials, CUstream_st* stream) {
  if (gemm.dtype == GemmDtype::f32) return start_rows<GemmDtype::f32>(gemm, plan, partials, stream);
  if (gemm.dtype == GemmDtype::f16) return start_rows<GemmDtype::f16>(gemm, plan, partials, stream);
  return start_rows<GemmDtype::bf16>(gemm, plan, partials, stream);
}

}  // namespace hfload
