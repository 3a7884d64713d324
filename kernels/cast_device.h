#pragma once

#include <cstdint>
#include <cstring>

#include "kernels/cast_scalar.h"

struct CUstream_st;

namespace hfload {

/// Elements that one GPU thread converts at once: 16 bytes of a 2-byte dtype, 32 bytes of a 4-byte one.
inline constexpr uint32_t kCastPack = 8;

/// How a run of elements is shared among threads. Packs come first, so that neighbouring threads touch
/// neighbouring memory; then the elements before the first aligned target address and those after the last
/// whole pack, one each.
struct CastSplit {
  uint64_t packs = 0;
  uint32_t head = 0;
  uint32_t tail = 0;
  bool aligned_source = false;  ///< packs are read from addresses that are multiples of 16 too

  HFLOAD_HOST_DEVICE uint64_t items() const { return packs + head + tail; }
};

/// Splits `count` elements. Both addresses are multiples of their element's size (`source_bytes`,
/// `target_bytes`).
HFLOAD_HOST_DEVICE inline CastSplit split_cast(uint64_t source_address, uint64_t target_address,
                                               uint64_t source_bytes, uint64_t target_bytes, uint64_t count) {
  const uint64_t past = target_address % 16;
  uint64_t head = past == 0 ? 0 : (16 - past) / target_bytes;
  if (head > count) head = count;
  CastSplit split;
  split.packs = (count - head) / kCastPack;
  split.head = static_cast<uint32_t>(head);
  split.tail = static_cast<uint32_t>((count - head) % kCastPack);
  split.aligned_source = (source_address + head * source_bytes) % 16 == 0;
  return split;
}

/// How far past a multiple of 16 a source has to begin so that `split_cast` finds its packs aligned.
HFLOAD_HOST_DEVICE inline uint64_t cast_source_shift(uint64_t target_address, uint64_t source_bytes,
                                                     uint64_t target_bytes) {
  const uint64_t past = target_address % 16;
  const uint64_t head = past == 0 ? 0 : (16 - past) / target_bytes;
  return (16 - head * source_bytes % 16) % 16;
}

/// What one load or store instruction of a GPU thread moves.
struct alignas(16) CastVector {
  uint32_t words[4];
};

HFLOAD_HOST_DEVICE inline CastVector load_vector(const void* address) {
#if defined(__CUDA_ARCH__)
  const uint4 words =
      __ldcs(static_cast<const uint4*>(address));  // one instruction, which the struct does not ensure
  return {{words.x, words.y, words.z, words.w}};
#else
  CastVector vector;
  std::memcpy(&vector, address, sizeof(vector));
  return vector;
#endif
}

HFLOAD_HOST_DEVICE inline void store_vector(void* address, const CastVector& vector) {
#if defined(__CUDA_ARCH__)
  __stcs(static_cast<uint4*>(address),
         make_uint4(vector.words[0], vector.words[1], vector.words[2], vector.words[3]));
#else
  std::memcpy(address, &vector, sizeof(vector));
#endif
}

/// Element `index` of elements that lie packed in vectors.
template <class Element>
HFLOAD_HOST_DEVICE inline Element vector_element(const CastVector* vectors, uint32_t index) {
  constexpr uint32_t kPerWord = 4 / sizeof(Element);
  const uint32_t word = vectors[index / (4 * kPerWord)].words[index / kPerWord % 4];
  return static_cast<Element>(word >> (index % kPerWord * 16));
}

template <class Element>
HFLOAD_HOST_DEVICE inline void set_vector_element(CastVector* vectors, uint32_t index, Element value) {
  constexpr uint32_t kPerWord = 4 / sizeof(Element);
  vectors[index / (4 * kPerWord)].words[index / kPerWord % 4] |= static_cast<uint32_t>(value)
                                                                 << (index % kPerWord * 16);
}

/// Item `item` of a split run: the whole work of one GPU thread, runnable on the host as well.
template <CastKind kind>
HFLOAD_HOST_DEVICE inline void cast_item(const CastSplit& split,
                                         const typename CastElement<kind>::Source* source,
                                         typename CastElement<kind>::Target* target, uint64_t item) {
  using Source = typename CastElement<kind>::Source;
  using Target = typename CastElement<kind>::Target;
  if (item >= split.packs) {
    const uint64_t single = item - split.packs;
    const uint64_t index = single < split.head ? single : single + split.packs * kCastPack;
    target[index] = CastElement<kind>::convert(source[index]);
    return;
  }
  const uint64_t first = split.head + item * kCastPack;
  constexpr uint32_t kSourceVectors = kCastPack * sizeof(Source) / sizeof(CastVector);
  constexpr uint32_t kTargetVectors = kCastPack * sizeof(Target) / sizeof(CastVector);
  CastVector in[kSourceVectors] = {};
  if (split.aligned_source) {
    for (uint32_t v = 0; v < kSourceVectors; ++v)
      in[v] = load_vector(source + first + v * 16 / sizeof(Source));
  } else {
    for (uint32_t i = 0; i < kCastPack; ++i) set_vector_element<Source>(in, i, source[first + i]);
  }
  CastVector out[kTargetVectors] = {};
  for (uint32_t i = 0; i < kCastPack; ++i) {
    set_vector_element<Target>(out, i, CastElement<kind>::convert(vector_element<Source>(in, i)));
  }
  for (uint32_t v = 0; v < kTargetVectors; ++v)
    store_vector(target + first + v * 16 / sizeof(Target), out[v]);
}

/// Starts `cast` on the current CUDA device, in order on `stream`. Both pointers are device memory, multiples
/// of their element's size, and the ranges do not overlap. Returns the cudaError_t of the launch (0: none).
int launch_cast(CastKind kind, const void* source, void* target, uint64_t count, CUstream_st* stream);

}  // namespace hfload
