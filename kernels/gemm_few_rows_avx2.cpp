#include "kernels/gemm_few_rows.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>

namespace hfload {
namespace {

#define HFLOAD_AVX2_FMA __attribute__((target("avx2,fma,f16c"), always_inline))

/// Eight elements of B from the `index`-th on.
template <GemmDtype dtype>
HFLOAD_AVX2_FMA inline __m256 load_wide(const std::byte* b, int64_t index) {
  if constexpr (dtype == GemmDtype::f32) {
    return _mm256_loadu_ps(reinterpret_cast<const float*>(b) + index);
  } else {
    const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(b + 2 * index));
    if constexpr (dtype == GemmDtype::f16) return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
  }
}

HFLOAD_AVX2_FMA inline float sum_of(__m256 x) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

/// `columns` neighbouring rows of B by `m` rows of A, from `first` on. `chains` sums are kept for each
/// element, so that an addition need not wait for the one before.
template <GemmDtype dtype, int m, int columns, int chains>
HFLOAD_AVX2_FMA inline void multiply_block(const FewRows& rows, int64_t first, int64_t column, float* out,
                                           int64_t out_ld) {
  static_assert(kFewRowsUnit % (8 * chains) == 0);
  const std::byte* const b =
      static_cast<const std::byte*>(rows.b) + column * rows.k * gemm_element_bytes(dtype);
  const float* const a = rows.a + first * rows.k;
  __m256 sums[chains][m][columns];
#pragma GCC unroll 8
  for (int chain = 0; chain < chains; ++chain) {
#pragma GCC unroll 8
    for (int row = 0; row < m; ++row) {
#pragma GCC unroll 8
      for (int c = 0; c < columns; ++c) sums[chain][row][c] = _mm256_setzero_ps();
    }
  }
  for (int64_t i = 0; i < rows.k; i += 8 * chains) {
#pragma GCC unroll 8
    for (int chain = 0; chain < chains; ++chain) {
      __m256 wide[columns];
#pragma GCC unroll 8
      for (int c = 0; c < columns; ++c) wide[c] = load_wide<dtype>(b, c * rows.k + i + 8 * chain);
#pragma GCC unroll 8
      for (int row = 0; row < m; ++row) {
        const __m256 x = _mm256_loadu_ps(a + row * rows.k + i + 8 * chain);
#pragma GCC unroll 8
        for (int c = 0; c < columns; ++c) {
          sums[chain][row][c] = _mm256_fmadd_ps(x, wide[c], sums[chain][row][c]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int row = 0; row < m; ++row) {
#pragma GCC unroll 8
    for (int c = 0; c < columns; ++c) {
      __m256 sum = sums[0][row][c];
#pragma GCC unroll 8
      for (int chain = 1; chain < chains; ++chain) sum = _mm256_add_ps(sum, sums[chain][row][c]);
      out[(first + row) * out_ld + c] = sum_of(sum);
    }
  }
}

/// Rows of A at a time; more of them would read A from the second cache faster than that can give it.
constexpr int kRowsAtOnce = 4;

/// All rows by `columns` rows of B, which the second half of the rows finds in the caches.
template <GemmDtype dtype, int m, int columns, int chains>
HFLOAD_AVX2_FMA inline void multiply_columns(const FewRows& rows, int64_t column, float* out,
                                             int64_t out_ld) {
  constexpr int kFirst = m < kRowsAtOnce ? m : kRowsAtOnce;
  multiply_block<dtype, kFirst, columns, chains>(rows, 0, column, out, out_ld);
  if constexpr (m > kFirst) {
    multiply_block<dtype, m - kFirst, columns, chains>(rows, kFirst, column, out, out_ld);
  }
}

// Of sixteen registers, sums take at most twelve, B one for each column, and A one.
constexpr int columns_for(int m) { return m == 1 ? 4 : 3; }
constexpr int chains_for(int m) { return m <= 2 ? 2 : 1; }

template <GemmDtype dtype, int m>
__attribute__((target("avx2,fma,f16c"))) void multiply_rows(const FewRows& rows, int64_t begin, int64_t end,
                                                            float* out, int64_t out_ld) {
  constexpr int kColumns = columns_for(m);
  constexpr int kChains = chains_for(m);
  int64_t column = begin;
  for (; column + kColumns <= end; column += kColumns) {
    multiply_columns<dtype, m, kColumns, kChains>(rows, column, out + column - begin, out_ld);
  }
  for (; column < end; ++column) {
    multiply_columns<dtype, m, 1, kChains>(rows, column, out + column - begin, out_ld);
  }
}

template <GemmDtype dtype>
void multiply_dtype(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld) {
  constexpr void (*kByRows[kMostFewRows])(const FewRows&, int64_t, int64_t, float*, int64_t) = {
      multiply_rows<dtype, 1>, multiply_rows<dtype, 2>, multiply_rows<dtype, 3>, multiply_rows<dtype, 4>,
      multiply_rows<dtype, 5>, multiply_rows<dtype, 6>, multiply_rows<dtype, 7>, multiply_rows<dtype, 8>};
  kByRows[rows.m - 1](rows, begin, end, out, out_ld);
}

}  // namespace

bool has_few_rows_avx2() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
         __builtin_cpu_supports("f16c") != 0;
}

void multiply_few_rows_avx2(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld) {
  switch (rows.dtype) {
    case GemmDtype::f32:
      return multiply_dtype<GemmDtype::f32>(rows, begin, end, out, out_ld);
    case GemmDtype::f16:
      return multiply_dtype<GemmDtype::f16>(rows, begin, end, out, out_ld);
    case GemmDtype::bf16:
      return multiply_dtype<GemmDtype::bf16>(rows, begin, end, out, out_ld);
  }
}

}  // namespace hfload

#else

namespace hfload {

bool has_few_rows_avx2() { return false; }
void multiply_few_rows_avx2(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld) {
  multiply_few_rows_portable(rows, begin, end, out, out_ld);
}

}  // namespace hfload

#endif
