#if defined(__x86_64__)
#include <immintrin.h>

#define HFLOAD_LANES_TARGET __attribute__((target("avx512f")))
#include "kernels/gemm_few_rows_tiles.h"

namespace hfload {
namespace {

#define HFLOAD_AVX512_INLINE __attribute__((target("avx512f"), always_inline)) static inline

struct Avx512Lanes {
  using Vector = __m512;
  static constexpr int kCount = 16;
  static constexpr int columns(int) { return 6; }  // up to 24 sums in 32 registers

  HFLOAD_AVX512_INLINE Vector zero() { return _mm512_setzero_ps(); }
  HFLOAD_AVX512_INLINE Vector load(const float* from) { return _mm512_loadu_ps(from); }
  HFLOAD_AVX512_INLINE void store(float* to, Vector x) { _mm512_storeu_ps(to, x); }
  HFLOAD_AVX512_INLINE Vector add(Vector x, Vector y) { return _mm512_add_ps(x, y); }
  HFLOAD_AVX512_INLINE Vector multiply_add(Vector x, Vector y, Vector z) { return _mm512_fmadd_ps(x, y, z); }
  HFLOAD_AVX512_INLINE float sum(Vector x) {
    alignas(64) float lanes[kCount];
    _mm512_store_ps(lanes, x);
    const __m256 eight = _mm256_add_ps(_mm256_load_ps(lanes), _mm256_load_ps(lanes + 8));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
  }

  template <GemmDtype dtype>
  HFLOAD_AVX512_INLINE Vector load_wide(const std::byte* unit, int part) {
    if constexpr (dtype == GemmDtype::f32) {
      return _mm512_loadu_ps(reinterpret_cast<const float*>(unit) + part * kCount);
    } else if constexpr (dtype == GemmDtype::f16) {
      return _mm512_maskz_cvtph_ps(0xffff, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(unit) + part));
    } else {
      const __m512i pairs = _mm512_loadu_si512(unit);
      return _mm512_castsi512_ps(
          part == 0 ? _mm512_maskz_slli_epi32(0xffff, pairs, 16)
                    : _mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000U))));
    }
  }
};

}  // namespace

bool has_few_rows_avx512() { return __builtin_cpu_supports("avx512f") != 0; }

void multiply_few_rows_avx512(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld) {
  multiply_by_lanes<Avx512Lanes>(rows, begin, end, out, out_ld);
}

}  // namespace hfload

#endif
