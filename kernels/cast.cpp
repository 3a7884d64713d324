#include "kernels/cast.h"

#include "kernels/cast_blocks.h"
#include "kernels/cast_paths.h"

namespace hfload {

size_t cast_source_bytes(CastKind kind) {
  switch (kind) {
    case CastKind::none:
      return 1;
    case CastKind::f32_to_f16:
    case CastKind::f32_to_bf16:
      return 4;
    default:
      return 2;
  }
}

size_t cast_target_bytes(CastKind kind) {
  switch (kind) {
    case CastKind::none:
      return 1;
    case CastKind::f16_to_f32:
    case CastKind::bf16_to_f32:
      return 4;
    default:
      return 2;
  }
}

void cast_reference(CastKind kind, const void* source, void* target, size_t count) {
  visit_cast(kind, source, target, count, [&]<CastKind k>() {
    cast_scalar<k>(static_cast<const std::byte*>(source), static_cast<std::byte*>(target), count);
  });
}

void cast(CastKind kind, const void* source, void* target, size_t count) {
  if (has_cast_avx512()) return cast_avx512(kind, source, target, count);
  if (has_cast_avx2()) return cast_avx2(kind, source, target, count);
  cast_reference(kind, source, target, count);
}

}  // namespace hfload
