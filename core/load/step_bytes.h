#pragma once

#include <algorithm>
#include <cstdint>

namespace hfload {

/// For the buffers of all workers that write an offload folder or verify, together.
inline constexpr uint64_t kWorkBufferBytes = 12 << 20;

/// The bytes of a shard that each of `workers` should take at once, where what it makes of them, they
/// included, takes `factor` times as many: at most 1 MiB, and a multiple of 4 KiB and so of every element's
/// size. For up to 256 workers, as --threads allows, and a factor of at most 12 all buffers stay within
/// kWorkBufferBytes.
constexpr uint64_t step_bytes(unsigned workers, unsigned factor) {
  constexpr uint64_t kMost = 1 << 20, kLeast = 4 << 10;
  const uint64_t share = kWorkBufferBytes / (uint64_t{std::max(workers, 1U)} * factor);
  return std::clamp(share / kLeast * kLeast, kLeast, kMost);
}

}  // namespace hfload
