#pragma once

#include "kernels/gemm_elements.cuh"
#include "kernels/gemm_ptx.cuh"
#include "kernels/gemm_tiles.h"

namespace hfload {

/// 2-byte elements from addresses that are multiples of 2 only. They are read by words where two of them fill
/// one, and nothing but them is read: behind a matrix there may be no memory.

/// 1 where an address is an odd multiple of 2, else 0.
__device__ inline uint32_t odd_half_word(const void* address) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(address) / 2 % 2);
}

/// 8 neighbouring elements, `valid` of which exist; the others become 0. They come in 5 words as those lie in
/// memory: from the third half word on, from the second where the address is an odd multiple of 2.
__device__ inline void fetch_half_words(const uint16_t* from, int32_t valid, uint32_t (&words)[5]) {
  const uint32_t odd = odd_half_word(from);
  if (valid >= 8) {
    const uint16_t* const whole = from + odd;
    words[0] = odd != 0 ? load_half_word(from) << 16 : 0;
#pragma unroll
    for (uint32_t i = 0; i < 3; ++i) words[i + 1] = load_word(whole + i * 2);
    words[4] = odd != 0 ? load_half_word(from + 7) : load_word(whole + 6);
    return;
  }
#pragma unroll
  for (int32_t half = 0; half < 10; ++half) {
    const int32_t i = half - 2 + static_cast<int32_t>(odd);
    const uint32_t bits = i >= 0 && i < valid ? load_half_word(from + i) : 0;
    words[half / 2] = half % 2 == 0 ? bits : words[half / 2] | bits << 16;
  }
}

/// Some rows of one operand on their way through the registers of `threads` threads, each with 8 elements of
/// every so many rows, which begin at multiples of 2 bytes.
template <uint32_t rows, uint32_t threads>
struct HeldRows {
  static constexpr uint32_t kChunks = 8;  ///< of 8 elements in a row of 64
  static constexpr uint32_t kStep = threads / kChunks;
  static constexpr uint32_t kCount = rows / kStep;
  static_assert(threads % kChunks == 0 && rows % kStep == 0);

  uint32_t words[kCount][5];
  uint32_t shift[kCount];  ///< of the words, in bits, that puts the elements into their places

  template <GemmDtype dtype>
  __device__ void fetch(const GemmInput& input, int32_t entry, int32_t first, int32_t row_count, int32_t k,
                        int32_t k_count) {
    const int32_t column = k + static_cast<int32_t>(threadIdx.x % kChunks * 8);
#pragma unroll
    for (uint32_t i = 0; i < kCount; ++i) {
      const int32_t row = first + static_cast<int32_t>(threadIdx.x / kChunks + i * kStep);
      const uint16_t* const from = element_at<dtype>(input, entry, row, column);
      shift[i] = odd_half_word(from) * 16;
      fetch_half_words(from, row < row_count ? k_count - column : 0, words[i]);
    }
  }

  __device__ void put(unsigned char* tile) const {
#pragma unroll
    for (uint32_t i = 0; i < kCount; ++i) {
      const uint32_t(&w)[5] = words[i];
      const uint4 elements = {funnel_left(w[0], w[1], shift[i]), funnel_left(w[1], w[2], shift[i]),
                              funnel_left(w[2], w[3], shift[i]), funnel_left(w[3], w[4], shift[i])};
      const uint32_t at = swizzled_chunk(threadIdx.x / kChunks + i * kStep, threadIdx.x % kChunks);
      *reinterpret_cast<uint4*>(tile + at) = elements;
    }
  }
};

}  // namespace hfload
