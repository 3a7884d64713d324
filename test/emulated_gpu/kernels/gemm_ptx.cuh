#pragma once

#include <cuda_runtime_api.h>

#include <bit>
#include <cstring>
#include <stdexcept>

#include "kernels/cast_scalar.h"
#include "kernels/gemm.h"

namespace hfload {

/// The functions of the real header, by the PTX ISA's text.

inline float float_from_f16(uint16_t bits) { return std::bit_cast<float>(f32_from_f16(bits)); }
inline uint16_t f16_from_float(float value) { return f16_from_f32(std::bit_cast<uint32_t>(value)); }
inline uint16_t bf16_from_float(float value) { return bf16_from_f32(std::bit_cast<uint32_t>(value)); }

inline test::Emulator& gpu() { return test::Emulator::current(); }
inline unsigned char* dynamic_shared() { return gpu().shared(); }
inline uint32_t shared_address(const void* pointer) { return gpu().address_of(pointer); }

template <uint32_t bytes>
void cp_async(uint32_t to, const void* from, uint32_t valid) {
  if (to % bytes != 0 || (valid != 0 && reinterpret_cast<uintptr_t>(from) % bytes != 0)) {
    throw std::runtime_error("a misaligned address for cp.async");
  }
  gpu().start_async([=] {
    std::memset(gpu().at(to), 0, bytes);
    if (valid != 0) std::memcpy(gpu().at(to), from, valid);
  });
}
inline void cp_async_commit() { gpu().commit(); }
template <int pending>
void cp_async_wait() {
  gpu().wait_groups(pending);
}

/// Lanes 8i to 8i + 7 name the rows of matrix i; lane l holds elements 2 (l % 4) and on of row l / 4.
inline void ldmatrix_x4(uint32_t (&to)[4], uint32_t from) {
  const uint32_t lane = threadIdx.x % 32;
  if (from % 16 != 0) throw std::runtime_error("a misaligned address for ldmatrix");
  gpu().begin_exchange();
  gpu().warp_slot(lane)[0] = from;
  gpu().sync_warp();
  for (uint32_t i = 0; i < 4; ++i) {
    std::memcpy(&to[i], gpu().at(gpu().warp_slot(8 * i + lane / 4)[0] + lane % 4 * 4), 4);
  }
}

template <GemmDtype dtype>
float float_of(uint16_t bits) {
  return std::bit_cast<float>(dtype == GemmDtype::bf16 ? f32_from_bf16(bits) : f32_from_f16(bits));
}

template <GemmDtype dtype>
void mma_m16n8k16(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  const uint32_t lane = threadIdx.x % 32;
  const uint32_t mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
  gpu().begin_exchange();
  std::memcpy(gpu().warp_slot(lane), mine, sizeof(mine));
  gpu().sync_warp();
  for (uint32_t i = 0; i < 4; ++i) {
    const uint32_t row = lane / 4 + i / 2 * 8;
    const uint32_t column = lane % 4 * 2 + i % 2;
    for (uint32_t k = 0; k < 16; ++k) {
      const uint32_t pair = k % 8 / 2, half = k % 2 * 16;
      const uint32_t x = gpu().warp_slot(row % 8 * 4 + pair)[row / 8 + k / 8 * 2] >> half;
      const uint32_t y = gpu().warp_slot(column * 4 + pair)[4 + k / 8] >> half;
      c[i] += float_of<dtype>(static_cast<uint16_t>(x)) * float_of<dtype>(static_cast<uint16_t>(y));
    }
  }
}

template <class Word>
uint32_t load_aligned(const void* from) {
  if (reinterpret_cast<uintptr_t>(from) % sizeof(Word) != 0) {
    throw std::runtime_error("a misaligned address for ld.global");
  }
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}
inline uint32_t load_half_word(const void* from) { return load_aligned<uint16_t>(from); }
inline uint32_t load_word(const void* from) { return load_aligned<uint32_t>(from); }
inline uint32_t funnel_left(uint32_t low, uint32_t high, uint32_t count) {
  const uint64_t both = static_cast<uint64_t>(high) << 32 | low;
  return static_cast<uint32_t>(both << (count % 32) >> 32);
}

inline uint4 load_streaming(const void* from) { return *static_cast<const uint4*>(from); }

}  // namespace hfload
