#pragma once

#include <algorithm>
#include <cstdint>

namespace hfload {

/// What the buffers of all threads together may take, in a load of so many tensors: 20 MiB, and less where
/// the list of the tensors is long. Their names, entries and placements take some 190 bytes each, and with
/// the buffers no more than 32 MiB beside the weights, up to 120,000 of them.
constexpr uint64_t buffer_bytes(uint64_t tensors) {
  constexpr uint64_t kMost = 20 << 20, kLeast = 4 << 20, kWithTensors = 26 << 20, kTensorBytes = 190;
  const uint64_t listed_bytes = std::min(tensors, kWithTensors / kTensorBytes) * kTensorBytes;
  return std::clamp(kWithTensors - listed_bytes, kLeast, kMost);
}

/// The part of it for direct reads.
constexpr uint64_t direct_buffer_bytes(uint64_t tensors, unsigned workers) {
  constexpr uint64_t kLeastOfOne = 64 << 10;
  return std::max(buffer_bytes(tensors) / 5 * 4, workers * kLeastOfOne);
}

/// What each of `workers` reads at once of what it scatters or converts, in a multiple of 4 KiB: its share of
/// the rest, and no more than stays in a processor's cache.
constexpr uint64_t window_bytes(uint64_t tensors, unsigned workers) {
  constexpr uint64_t kMost = 256 << 10, kLeast = 4 << 10;
  const uint64_t share = buffer_bytes(tensors) / 5 / std::max(workers, 1U);
  return std::clamp(share / kLeast * kLeast, kLeast, kMost);
}

/// The bytes of a shard that each of `workers` should take at once when they write an offload folder or
/// verify, where what it makes of them, they included, takes `factor` times as many: at most 1 MiB, and a
/// multiple of 4 KiB and so of every element's size. All together take at most half of buffer_bytes, unless
/// `workers` times `factor` pages are more.
constexpr uint64_t step_bytes(uint64_t tensors, unsigned workers, unsigned factor) {
  constexpr uint64_t kMost = 1 << 20, kLeast = 4 << 10;
  const uint64_t share = buffer_bytes(tensors) / 2 / (uint64_t{std::max(workers, 1U)} * factor);
  return std::clamp(share / kLeast * kLeast, kLeast, kMost);
}

}  // namespace hfload
