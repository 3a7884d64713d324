#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "test/emulated_gpu/emulator.h"

// What the kernels' sources need of CUDA, for a C++ compiler. Clusters run one after the other, so that what
// the threads of a block without a cluster share may be static; in a cluster it must be dynamic shared
// memory.
#define __device__
#define __global__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static
#define __CUDA_ARCH_FEAT_SM90_ALL
#define CUDART_VERSION 13000

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float __uint_as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
template <class T>
T __ldg(const T* from) {
  return *from;
}

#define threadIdx (hfload::test::Emulator::current().thread_index())
#define blockIdx (hfload::test::Emulator::current().block_index())
#define gridDim (hfload::test::Emulator::current().grid_size())
inline void __syncthreads() { hfload::test::Emulator::current().sync_block(); }
inline void __syncwarp() { hfload::test::Emulator::current().sync_warp(); }
inline float __shfl_xor_sync(uint32_t, float value, int lanes) {
  return hfload::test::Emulator::current().exchange(value, lanes);
}

using cudaError_t = int;
using cudaStream_t = struct CUstream_st*;
enum { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorNotSupported = 801, cudaEnableDefault = 0 };
enum cudaDeviceAttr {
  cudaDevAttrComputeCapabilityMajor,
  cudaDevAttrComputeCapabilityMinor,
  cudaDevAttrMultiProcessorCount,
  cudaDevAttrMaxSharedMemoryPerBlockOptin
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
inline cudaError_t cudaMalloc(void** data, size_t bytes) {
  *data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* data) {
  std::free(data);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  std::memset(to, value, bytes);
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess };
inline cudaError_t cudaGetDevice(int* ordinal) { return *ordinal = 0; }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  constexpr int kValues[] = {9, 0, 4, 232'448};  // a small H100
  *value = kValues[attribute];
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char*, void** address, unsigned, int,
                                             cudaDriverEntryPointQueryResult*);
