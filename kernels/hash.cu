#include <cuda_runtime_api.h>

#include "kernels/hash_device.h"

namespace hfload {
namespace {

constexpr unsigned kThreads = 256;
constexpr uint64_t kMaxBlocks = 2048;

__global__ void __launch_bounds__(kThreads)
    hash_kernel(const unsigned char* __restrict__ data, uint64_t bytes, uint64_t first_word,
                unsigned long long* __restrict__ sum) {
  const uint64_t words = (bytes + 7) / 8;
  const uint64_t stride = static_cast<uint64_t>(gridDim.x) * kThreads;
  unsigned long long mine = 0;
  for (uint64_t i = static_cast<uint64_t>(blockIdx.x) * kThreads + threadIdx.x; i < words; i += stride) {
    mine += hash_word(word_of(data, bytes, i), first_word + i);
  }
  for (unsigned lanes = 16; lanes > 0; lanes /= 2) mine += __shfl_down_sync(0xffffffffU, mine, lanes);
  if (threadIdx.x % 32 == 0) atomicAdd(sum, mine);
}

}  // namespace

int launch_hash(const void* data, uint64_t bytes, uint64_t first_word, uint64_t* sum, CUstream_st* stream) {
  if (bytes == 0) return cudaSuccess;
  const uint64_t wanted = ((bytes + 7) / 8 + kThreads - 1) / kThreads;
  const auto blocks = static_cast<unsigned>(wanted < kMaxBlocks ? wanted : kMaxBlocks);
  static_assert(sizeof(unsigned long long) == sizeof(uint64_t));
  hash_kernel<<<blocks, kThreads, 0, stream>>>(static_cast<const unsigned char*>(data), bytes, first_word,
                                               reinterpret_cast<unsigned long long*>(sum));
  return cudaGetLastError();
}

}  // namespace hfload
