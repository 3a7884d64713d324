#pragma once

#include <cuda.h>

#include <stdexcept>

#include "kernels/gemm_ptx.cuh"

namespace hfload {

/// The functions of the real header, by the PTX ISA's text.

inline void mbarrier_init(uint32_t barrier, uint32_t arrivals) { gpu().barrier_init(barrier, arrivals); }
inline void mbarrier_init_fence() {}
inline void mbarrier_arrive(uint32_t barrier) { gpu().barrier_arrive(barrier); }
inline void mbarrier_arrive_expect(uint32_t barrier, uint32_t bytes) {
  gpu().barrier_expect(barrier, bytes);
  gpu().barrier_arrive(barrier);
}
inline void mbarrier_arrive_cluster(uint32_t barrier) { gpu().barrier_arrive_cluster(barrier); }
inline void mbarrier_wait(uint32_t barrier, uint32_t parity) { gpu().barrier_wait(barrier, parity); }
inline uint32_t cluster_rank() { return gpu().cluster_rank(); }
inline uint32_t map_to_block(uint32_t address, uint32_t rank) { return gpu().map_to_block(address, rank); }
inline void cluster_sync() { gpu().sync_cluster(); }

/// The 128-byte swizzle: bits 4 to 6 of an address are changed by its bits 7 to 9.
inline uint32_t hardware_swizzle(uint32_t address) { return address ^ (address >> 3 & 0x70); }

/// Every block's copy comes at a time of its own.
inline void tma_load_multicast(uint32_t to, const CUtensorMap* map, uint32_t barrier, int32_t k, int32_t row,
                               int32_t entry, uint16_t ranks) {
  if (to % 128 != 0 || barrier % 8 != 0) throw std::runtime_error("a misaligned address for TMA");
  for (uint32_t rank = 0; rank < 16; ++rank) {
    if ((ranks >> rank & 1) == 0) continue;
    gpu().start_detached([=] {
      for (uint32_t r = 0; r < map->box[1]; ++r) {
        for (uint32_t c = 0; c < map->box[0]; ++c) {
          const uint64_t at_k = static_cast<uint64_t>(k) + c, at_row = static_cast<uint64_t>(row) + r;
          uint16_t value = 0;
          if (at_k < map->sizes[0] && at_row < map->sizes[1] &&
              static_cast<uint64_t>(entry) < map->sizes[2]) {
            const uint64_t at =
                static_cast<uint64_t>(entry) * map->strides[1] + at_row * map->strides[0] + at_k * 2;
            std::memcpy(&value, map->data + at, 2);
          }
          std::memcpy(gpu().at(rank, hardware_swizzle(to + r * 128 + c * 2)), &value, 2);
        }
      }
      gpu().barrier_complete(rank, barrier, map->box[0] * map->box[1] * 2);
    });
  }
}
inline void tma_load(uint32_t to, const CUtensorMap* map, uint32_t barrier, int32_t k, int32_t row,
                     int32_t entry) {
  const auto own = static_cast<uint16_t>(1U << gpu().cluster_rank());
  tma_load_multicast(to, map, barrier, k, row, entry, own);
}
inline void prefetch_tensor_map(const CUtensorMap*) {}

template <int registers>
void give_registers_back() {}
template <int registers>
void take_registers() {}

inline void wgmma_fence() {}
inline void wgmma_commit() { gpu().commit(); }
template <int pending>
void wgmma_wait() {
  gpu().wait_groups(pending);
}

/// Element [row, k] of a K-major operand by its matrix descriptor: 8 rows are 128 bytes apart each, the next
/// 8 a stride further; the address is swizzled last.
template <GemmDtype dtype>
float operand_element(uint64_t descriptor, uint32_t row, uint32_t k) {
  if (descriptor >> 62 != 1 || (descriptor >> 49 & 7) != 0)
    throw std::runtime_error("another kind of descriptor");
  const auto begin = static_cast<uint32_t>(descriptor & 0x3fff) << 4;
  const auto stride = static_cast<uint32_t>(descriptor >> 32 & 0x3fff) << 4;
  uint16_t bits = 0;
  std::memcpy(&bits, gpu().at(hardware_swizzle(begin + row / 8 * stride + row % 8 * 128 + k * 2)), 2);
  return float_of<dtype>(bits);
}

template <GemmDtype dtype, int accumulators>
void wgmma(float (&d)[accumulators], uint64_t a, uint64_t b, uint32_t adds) {
  const uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  float* const sums = d;
  gpu().start_async([=] {
    float x[2][16];
    for (uint32_t half = 0; half < 2; ++half) {
      for (uint32_t k = 0; k < 16; ++k) {
        x[half][k] = operand_element<dtype>(a, warp * 16 + half * 8 + lane / 4, k);
      }
    }
    for (uint32_t column = 0; column < accumulators / 2; ++column) {
      float y[16];
      for (uint32_t k = 0; k < 16; ++k) {
        y[k] = operand_element<dtype>(b, column / 2 * 8 + lane % 4 * 2 + column % 2, k);
      }
      for (uint32_t half = 0; half < 2; ++half) {
        float& sum = sums[column / 2 * 4 + half * 2 + column % 2];
        if (adds == 0) sum = 0;
        for (uint32_t k = 0; k < 16; ++k) sum += x[half][k] * y[k];
      }
    }
  });
}

}  // namespace hfload
