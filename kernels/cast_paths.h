#pragma once

#include <cstddef>

#include "kernels/cast.h"

namespace hfload {

/// The ways that `cast` chooses among; each is equal to cast_reference bit for bit. Only to be called where
/// this processor has the instructions (F16C and AVX2; AVX-512 F, BW, VL and DQ).
void cast_avx2(CastKind kind, const void* source, void* target, size_t count);
void cast_avx512(CastKind kind, const void* source, void* target, size_t count);
bool has_cast_avx2();
bool has_cast_avx512();

}  // namespace hfload
