#pragma once

#include <cstdint>

#include "kernels/host_device.h"

struct CUstream_st;

namespace hfload {

/// A 64-bit checksum of a tensor's bytes that can be formed in any order and in parts, so that a GPU and
/// several threads give the same as one loop. Not cryptographic: it finds faults, not forgeries.
///
/// With the bytes as little-endian 64-bit words w[0], w[1], …, the last filled up with zeros:
///   sum  = Σ mix(w[i] + (i + 1) * 0x9e3779b97f4a7c15)
///   hash = mix(sum + bytes)
/// all modulo 2^64; mix is the finaliser of MurmurHash3 (A. Appleby, public domain).
HFLOAD_HOST_DEVICE inline uint64_t hash_mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

/// What the word at `index` adds to the sum.
HFLOAD_HOST_DEVICE inline uint64_t hash_word(uint64_t word, uint64_t index) {
  return hash_mix(word + (index + 1) * 0x9e3779b97f4a7c15ULL);
}

/// The part of the sum of `bytes` bytes of which the first is at byte 8 * `first_word` of the tensor.
/// `data` needs no alignment.
uint64_t hash_part(const void* data, uint64_t bytes, uint64_t first_word);

/// The hash of a tensor of `bytes` bytes from the sum of its parts.
HFLOAD_HOST_DEVICE inline uint64_t hash_of_sum(uint64_t sum, uint64_t bytes) { return hash_mix(sum + bytes); }

/// Adds the part of the sum of device memory to `*sum`, which is device memory too. `data` needs no
/// alignment. Returns a cudaError_t.
int launch_hash(const void* data, uint64_t bytes, uint64_t first_word, uint64_t* sum, CUstream_st* stream);

}  // namespace hfload
