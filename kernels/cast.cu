#include <cuda_runtime_api.h>

#include "kernels/cast_device.h"

namespace hfload {
namespace {

constexpr unsigned kThreads = 256;
// Enough blocks to fill any current GPU; the loop in the kernel takes what is left.
constexpr uint64_t kMaxBlocks = 4096;

template <CastKind kind>
__global__ void __launch_bounds__(kThreads)
    cast_kernel(CastSplit split, const typename CastElement<kind>::Source* __restrict__ source,
                typename CastElement<kind>::Target* __restrict__ target) {
  const uint64_t stride = static_cast<uint64_t>(gridDim.x) * kThreads;
  for (uint64_t item = static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x; item < split.items();
       item += stride) {
    cast_item<kind>(split, source, target, item);
  }
}

template <CastKind kind>
void launch(const void* source, void* target, uint64_t count, cudaStream_t stream) {
  using Source = typename CastElement<kind>::Source;
  using Target = typename CastElement<kind>::Target;
  const CastSplit split = split_cast(reinterpret_cast<uintptr_t>(source), reinterpret_cast<uintptr_t>(target),
                                     sizeof(Source), sizeof(Target), count);
  const uint64_t wanted = (split.items() + kThreads - 1) / kThreads;
  const auto blocks = static_cast<unsigned>(wanted < kMaxBlocks ? wanted : kMaxBlocks);
  cast_kernel<kind><<<blocks, kThreads, 0, stream>>>(split, static_cast<const Source*>(source),
                                                     static_cast<Target*>(target));
}

}  // namespace

int launch_cast(CastKind kind, const void* source, void* target, uint64_t count, CUstream_st* stream) {
  if (count == 0) return cudaSuccess;
  switch (kind) {
    case CastKind::none:
      return cudaMemcpyAsync(target, source, count, cudaMemcpyDeviceToDevice, stream);
    case CastKind::f32_to_f16:
      launch<CastKind::f32_to_f16>(source, target, count, stream);
      break;
    case CastKind::f32_to_bf16:
      launch<CastKind::f32_to_bf16>(source, target, count, stream);
      break;
    case CastKind::f16_to_f32:
      launch<CastKind::f16_to_f32>(source, target, count, stream);
      break;
    case CastKind::f16_to_bf16:
      launch<CastKind::f16_to_bf16>(source, target, count, stream);
      break;
    case CastKind::bf16_to_f32:
      launch<CastKind::bf16_to_f32>(source, target, count, stream);
      break;
    case CastKind::bf16_to_f16:
      launch<CastKind::bf16_to_f16>(source, target, count, stream);
      break;
  }
  return cudaGetLastError();
}

}  // namespace hfload
