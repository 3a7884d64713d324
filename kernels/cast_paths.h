#pragma once

#include <cstddef>

#include "kernels/cast.h"

namespace hfload {

/// The ways that `cast` chooses among; each is equal to cast_reference bit for bit. Only to be called where
/// this processor has the instructions (F16C and AVX2; AVX-512 F, BW, VL and DQ), as only x86-64 processors
/// may.
void cast_avx2(CastKind kind, const void* source, void* target, size_t count);
void cast_avx512(CastKind kind, const void* source, void* target, size_t count);
#if defined(__x86_64__)
bool has_cast_avx2();
bool has_cast_avx512();
#else
inline bool has_cast_avx2() { return false; }
inline bool has_cast_avx512() { return false; }
inline void cast_avx2(CastKind kind, const void* source, void* target, size_t count) {
  cast_reference(kind, source, target, count);
}
inline void cast_avx512(CastKind kind, const void* source, void* target, size_t count) {
  cast_reference(kind, source, target, count);
}
#endif

}  // namespace hfload
