#if defined(__x86_64__)
#include <immintrin.h>

#define HFLOAD_LANES_TARGET __attribute__((target("avx2,fma,f16c")))
#include "kernels/cpu_features.h"
#include "kernels/gemm_few_rows_tiles.h"

namespace hfload {
namespace {

#define HFLOAD_AVX2_INLINE __attribute__((target("avx2,fma,f16c"), always_inline)) static inline

struct Avx2Lanes {
  using Vector = __m256;
  static constexpr int kCount = 8;
  // Of sixteen registers, sums take at most twelve; A and B take one and as many as there are of the fewer.
  static constexpr int columns(int rows) { return rows == 4 ? 3 : 4; }

  HFLOAD_AVX2_INLINE Vector zero() { return _mm256_setzero_ps(); }
  HFLOAD_AVX2_INLINE Vector load(const float* from) { return _mm256_loadu_ps(from); }
  HFLOAD_AVX2_INLINE void store(float* to, Vector x) { _mm256_storeu_ps(to, x); }
  HFLOAD_AVX2_INLINE Vector add(Vector x, Vector y) { return _mm256_add_ps(x, y); }
  HFLOAD_AVX2_INLINE Vector multiply_add(Vector x, Vector y, Vector z) { return _mm256_fmadd_ps(x, y, z); }
  HFLOAD_AVX2_INLINE float sum(Vector x) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }

  template <GemmDtype dtype>
  HFLOAD_AVX2_INLINE Vector load_wide(const std::byte* unit, int part) {
    if constexpr (dtype == GemmDtype::f32) {
      return _mm256_loadu_ps(reinterpret_cast<const float*>(unit) + part * kCount);
    } else if constexpr (dtype == GemmDtype::f16) {
      return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(unit) + part));
    } else {
      const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(unit) + part % 2);
      const __m256i wide = part < 2
                               ? _mm256_slli_epi32(pairs, 16)
                               : _mm256_and_si256(pairs, _mm256_set1_epi32(static_cast<int>(0xffff0000U)));
      return _mm256_castsi256_ps(wide);
    }
  }
};

}  // namespace

bool has_few_rows_avx2() { return has_avx2_and_f16c() && __builtin_cpu_supports("fma") != 0; }

void multiply_few_rows_avx2(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld) {
  multiply_by_lanes<Avx2Lanes>(rows, begin, end, out, out_ld);
}

}  // namespace hfload

#endif
