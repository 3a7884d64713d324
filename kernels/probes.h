#pragma once

#include <cstddef>
#include <cstdint>

namespace hfload {

/// What this processor can do at most, as work to be timed: each call keeps one thread busy with nothing
/// else.

/// fp32 multiply-adds by the widest vectors there are, in registers, `rounds` times over. Returns the
/// floating-point operations done.
uint64_t probe_f32_peak(uint64_t rounds);

/// The same by VDPBF16PS, the dot product of bf16 pairs. 0 where the processor does not have it.
uint64_t probe_bf16_peak(uint64_t rounds);

/// Reads every byte, a multiple of 256 of them from an address that is a multiple of 32, and returns
/// something that depends on all.
uint64_t probe_read(const std::byte* data, size_t bytes);

}  // namespace hfload
