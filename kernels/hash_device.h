#pragma once

#include <cstdint>

#include "kernels/hash.h"

namespace hfload {

/// The word at `index` of `bytes` bytes that begin anywhere: from the two aligned words it lies across, the
/// last filled up with zeros. Reads no aligned word that holds none of the bytes.
HFLOAD_HOST_DEVICE inline uint64_t word_of(const unsigned char* data, uint64_t bytes, uint64_t index) {
  const uint64_t begin = index * 8;
  const uint64_t left = bytes - begin;
  const unsigned char* const at = data + begin;
  const auto shift = static_cast<unsigned>(reinterpret_cast<uintptr_t>(at) % 8);
  const auto* const words = reinterpret_cast<const uint64_t*>(at - shift);
  uint64_t word = words[0] >> (8 * shift);
  if (shift != 0 && left > 8 - shift) word |= words[1] << (64 - 8 * shift);
  if (left < 8) word &= (uint64_t{1} << (8 * left)) - 1;
  return word;
}

}  // namespace hfload
