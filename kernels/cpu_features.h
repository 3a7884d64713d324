#pragma once

#if defined(__x86_64__)
#include <cpuid.h>

namespace hfload {

/// Whether the processor and the system have AVX2, and the processor F16C. (clang 14 does not know F16C by
/// name.)
inline bool has_avx2_and_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __builtin_cpu_supports("avx2") != 0 && __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

}  // namespace hfload

#endif
