#include "kernels/cast_paths.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cast_blocks.h"

namespace hfload {
namespace {

#define HFLOAD_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

HFLOAD_AVX512 inline __m256i load_16(const std::byte* at) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
}

/// Sixteen bf16 to sixteen f32.
HFLOAD_AVX512 inline __m512i widen_bf16(__m256i values) {
  const __m512i wide = _mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16);
  const __m512i magnitude = _mm512_and_si512(wide, _mm512_set1_epi32(0x7fffffff));
  const __mmask16 is_nan = _mm512_cmpgt_epu32_mask(magnitude, _mm512_set1_epi32(0x7f800000));
  return _mm512_mask_or_epi32(wide, is_nan, wide, _mm512_set1_epi32(0x00400000));
}

/// Sixteen f32 to sixteen bf16. By integers: the instruction for it (VCVTNEPS2BF16) takes denormals for zero.
HFLOAD_AVX512 inline __m256i round_to_bf16(__m512i bits) {
  const __m512i upper = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
  const __m512i bias = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
  const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, bias), 16);
  const __m512i magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff));
  const __mmask16 is_nan = _mm512_cmpgt_epu32_mask(magnitude, _mm512_set1_epi32(0x7f800000));
  const __m512i result = _mm512_mask_or_epi32(rounded, is_nan, upper, _mm512_set1_epi32(0x40));
  return _mm512_cvtepi32_epi16(result);
}

HFLOAD_AVX512 inline __m512i widen_f16(__m256i values) {
  return _mm512_castps_si512(_mm512_cvtph_ps(values));
}

HFLOAD_AVX512 inline __m256i round_to_f16(__m512i bits) {
  return _mm512_maskz_cvtps_ph(0xffff, _mm512_castsi512_ps(bits), _MM_FROUND_TO_NEAREST_INT);
}

HFLOAD_AVX512 inline void store(std::byte* at, __m512i value) { _mm512_storeu_si512(at, value); }

HFLOAD_AVX512 inline __m512i join(__m256i low, __m256i high) {
  return _mm512_maskz_inserti64x4(0xff, _mm512_castsi256_si512(low), high, 1);
}

/// Thirty-two elements.
template <CastKind kind>
HFLOAD_AVX512 inline void cast_block(const std::byte* source, std::byte* target) {
  if constexpr (kind == CastKind::f32_to_f16 || kind == CastKind::f32_to_bf16) {
    const __m512i low = _mm512_loadu_si512(source);
    const __m512i high = _mm512_loadu_si512(source + 64);
    if constexpr (kind == CastKind::f32_to_f16) {
      store(target, join(round_to_f16(low), round_to_f16(high)));
    } else {
      store(target, join(round_to_bf16(low), round_to_bf16(high)));
    }
  } else {
    const __m256i low = load_16(source);
    const __m256i high = load_16(source + 32);
    if constexpr (kind == CastKind::f16_to_f32) {
      store(target, widen_f16(low));
      store(target + 64, widen_f16(high));
    } else if constexpr (kind == CastKind::bf16_to_f32) {
      store(target, widen_bf16(low));
      store(target + 64, widen_bf16(high));
    } else if constexpr (kind == CastKind::f16_to_bf16) {
      store(target, join(round_to_bf16(widen_f16(low)), round_to_bf16(widen_f16(high))));
    } else {
      store(target, join(round_to_f16(widen_bf16(low)), round_to_f16(widen_bf16(high))));
    }
  }
}

struct Avx512Blocks {
  static constexpr size_t kElements = 32;

  template <CastKind kind>
  HFLOAD_AVX512 static void run(const std::byte* source, std::byte* target, size_t blocks) {
    using Element = CastElement<kind>;
    for (size_t i = 0; i < blocks; ++i) {
      cast_block<kind>(source + i * kElements * sizeof(typename Element::Source),
                       target + i * kElements * sizeof(typename Element::Target));
    }
  }
};

}  // namespace

bool has_cast_avx512() {
  return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512dq") != 0;
}

void cast_avx512(CastKind kind, const void* source, void* target, size_t count) {
  cast_by_blocks<Avx512Blocks>(kind, source, target, count);
}

}  // namespace hfload

#endif
