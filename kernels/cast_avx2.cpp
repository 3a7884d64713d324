#include "kernels/cast_paths.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include "kernels/cast_blocks.h"
#include "kernels/cpu_features.h"

namespace hfload {
namespace {

#define HFLOAD_AVX2 __attribute__((target("avx2,f16c")))

HFLOAD_AVX2 inline __m128i load_16(const std::byte* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

/// Eight bf16 to eight f32.
HFLOAD_AVX2 inline __m256i widen_bf16(__m128i values) {
  const __m256i wide = _mm256_cvtepu16_epi32(values);
  const __m256i magnitude = _mm256_and_si256(wide, _mm256_set1_epi32(0x7fff));
  const __m256i is_nan = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x7f80));
  const __m256i quiet = _mm256_and_si256(is_nan, _mm256_set1_epi32(0x40));
  return _mm256_slli_epi32(_mm256_or_si256(wide, quiet), 16);
}

/// Eight f32 to eight bf16, each in the low half of its lane.
HFLOAD_AVX2 inline __m256i round_to_bf16(__m256i bits) {
  const __m256i upper = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
  const __m256i bias = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, bias), 16);
  const __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff));
  const __m256i is_nan = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x7f800000));
  return _mm256_blendv_epi8(rounded, _mm256_or_si256(upper, _mm256_set1_epi32(0x40)), is_nan);
}

/// Sixteen 16-bit values from the low halves of two vectors of eight lanes, in order.
HFLOAD_AVX2 inline __m256i pack(__m256i low, __m256i high) {
  return _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xd8);
}

HFLOAD_AVX2 inline __m256i pack_f16(__m256 low, __m256 high) {
  return _mm256_set_m128i(_mm256_cvtps_ph(high, _MM_FROUND_TO_NEAREST_INT),
                          _mm256_cvtps_ph(low, _MM_FROUND_TO_NEAREST_INT));
}

HFLOAD_AVX2 inline void store(std::byte* at, __m256i value) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), value);
}

template <CastKind kind>
HFLOAD_AVX2 inline void cast_block(const std::byte* source, std::byte* target) {
  if constexpr (kind == CastKind::f32_to_f16 || kind == CastKind::f32_to_bf16) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source + 32));
    if constexpr (kind == CastKind::f32_to_f16) {
      store(target, pack_f16(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)));
    } else {
      store(target, pack(round_to_bf16(low), round_to_bf16(high)));
    }
  } else {
    const __m128i low = load_16(source);
    const __m128i high = load_16(source + 16);
    if constexpr (kind == CastKind::f16_to_f32) {
      store(target, _mm256_castps_si256(_mm256_cvtph_ps(low)));
      store(target + 32, _mm256_castps_si256(_mm256_cvtph_ps(high)));
    } else if constexpr (kind == CastKind::bf16_to_f32) {
      store(target, widen_bf16(low));
      store(target + 32, widen_bf16(high));
    } else if constexpr (kind == CastKind::f16_to_bf16) {
      store(target, pack(round_to_bf16(_mm256_castps_si256(_mm256_cvtph_ps(low))),
                         round_to_bf16(_mm256_castps_si256(_mm256_cvtph_ps(high)))));
    } else {
      store(target, pack_f16(_mm256_castsi256_ps(widen_bf16(low)), _mm256_castsi256_ps(widen_bf16(high))));
    }
  }
}

struct Avx2Blocks {
  static constexpr size_t kElements = 16;

  template <CastKind kind>
  HFLOAD_AVX2 static void run(const std::byte* source, std::byte* target, size_t blocks) {
    using Element = CastElement<kind>;
    for (size_t i = 0; i < blocks; ++i) {
      cast_block<kind>(source + i * kElements * sizeof(typename Element::Source),
                       target + i * kElements * sizeof(typename Element::Target));
    }
  }
};

}  // namespace

bool has_cast_avx2() { return has_avx2_and_f16c(); }

void cast_avx2(CastKind kind, const void* source, void* target, size_t count) {
  cast_by_blocks<Avx2Blocks>(kind, source, target, count);
}

}  // namespace hfload

#endif
