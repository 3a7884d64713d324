#pragma once

#include <cstddef>
#include <cstdint>

namespace hfload {

/// A conversion between float dtypes of a tensor's elements.
enum class CastKind : uint8_t {
  none,
  f32_to_f16,
  f32_to_bf16,
  f16_to_f32,
  f16_to_bf16,
  bf16_to_f32,
  bf16_to_f16
};

/// Bytes per element before and after. `none` gives 1.
size_t cast_source_bytes(CastKind kind);
size_t cast_target_bytes(CastKind kind);

/// Converts `count` elements: IEEE 754 round to nearest even, denormals kept, overflow to infinity. A NaN
/// becomes a quiet NaN of the same sign with the leading payload bits that fit (what x86 F16C does; torch's
/// `.to()` gives a NaN as well, of a payload that depends on the processor). bf16 and f16 convert to each
/// other through f32, which is exact, and so round once. `none` copies bytes. Source and target must not
/// overlap and need no alignment. Picks the fastest code for this processor; equal to cast_reference bit for
/// bit.
void cast(CastKind kind, const void* source, void* target, size_t count);

/// The scalar definition of `cast`.
void cast_reference(CastKind kind, const void* source, void* target, size_t count);

}  // namespace hfload
