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

/// Converts by blocks of `Blocks::kElements` elements, and what is left over one by one. Targets are written
/// through the caches: mostly they were cleared or are read right before or after, so that they are in there.
template <class Blocks, CastKind kind>
inline void cast_kind_by_blocks(const std::byte* source, std::byte* target, size_t count) {
  constexpr size_t kSource = sizeof(typename CastElement<kind>::Source);
  constexpr size_t kTarget = sizeof(typename CastElement<kind>::Target);
  const size_t blocks = count / Blocks::kElements;
  Blocks::template run<kind>(source, target, blocks);
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
