#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/cast_scalar.h"

namespace hfload {

template <CastKind kind>
inline void cast_scalar(const std::byte* source, std::byte* target, size_t count) {
  using Element = CastElement<kind>;
  for (size_t i = 0; i < count; ++i) {
    typename Element::Source in;
    std::memcpy(&in, source + i * sizeof(in), sizeof(in));
    const typename Element::Target out = Element::convert(in);
    std::memcpy(target + i * sizeof(out), &out, sizeof(out));
  }
}

/// Calls `visit.template operator()<kind>()` for a conversion; copies bytes for none.
template <class Visit>
inline void visit_cast(CastKind kind, const void* source, void* target, size_t count, Visit&& visit) {
  if (count == 0) return;
  switch (kind) {
    case CastKind::none:
      std::memcpy(target, source, count);
      return;
    case CastKind::f32_to_f16:
      return visit.template operator()<CastKind::f32_to_f16>();
    case CastKind::f32_to_bf16:
      return visit.template operator()<CastKind::f32_to_bf16>();
    case CastKind::f16_to_f32:
      return visit.template operator()<CastKind::f16_to_f32>();
    case CastKind::f16_to_bf16:
      return visit.template operator()<CastKind::f16_to_bf16>();
    case CastKind::bf16_to_f32:
      return visit.template operator()<CastKind::bf16_to_f32>();
    case CastKind::bf16_to_f16:
      return visit.template operator()<CastKind::bf16_to_f16>();
  }
}

/// Converts by blocks of `Blocks::kElements` elements, and what is left over one by one. Large targets are
/// written around the caches: that saves reading the lines first. Smaller ones are likely to be read again
/// soon.
template <class Blocks, CastKind kind>
inline void cast_kind_by_blocks(const std::byte* source, std::byte* target, size_t count) {
  constexpr size_t kStreamingBytes = 64 << 10;
  constexpr size_t kSource = sizeof(typename CastElement<kind>::Source);
  constexpr size_t kTarget = sizeof(typename CastElement<kind>::Target);
  const size_t misaligned = reinterpret_cast<uintptr_t>(target) % Blocks::kVectorBytes;
  const bool streaming = count * kTarget >= kStreamingBytes && misaligned % kTarget == 0;
  if (streaming && misaligned != 0) {
    const size_t head = (Blocks::kVectorBytes - misaligned) / kTarget;
    cast_scalar<kind>(source, target, head);
    source += head * kSource;
    target += head * kTarget;
    count -= head;
  }
  const size_t blocks = count / Blocks::kElements;
  if (streaming) {
    Blocks::template run<kind, true>(source, target, blocks);
  } else {
    Blocks::template run<kind, false>(source, target, blocks);
  }
  const size_t done = blocks * Blocks::kElements;
  cast_scalar<kind>(source + done * kSource, target + done * kTarget, count - done);
}

template <class Blocks>
inline void cast_by_blocks(CastKind kind, const void* source, void* target, size_t count) {
  visit_cast(kind, source, target, count, [&]<CastKind k>() {
    cast_kind_by_blocks<Blocks, k>(static_cast<const std::byte*>(source), static_cast<std::byte*>(target),
                                   count);
  });
}

}  // namespace hfload
