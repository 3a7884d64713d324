#include "kernels/cast.h"

#include <cstring>

#include "kernels/cast_scalar.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define HFLOAD_X86 1
#endif

namespace hfload {
namespace {

template <CastKind kind>
void cast_scalar(const std::byte* source, std::byte* target, size_t count) {
  using Element = CastElement<kind>;
  for (size_t i = 0; i < count; ++i) {
    typename Element::Source in;
    std::memcpy(&in, source + i * sizeof(in), sizeof(in));
    const typename Element::Target out = Element::convert(in);
    std::memcpy(target + i * sizeof(out), &out, sizeof(out));
  }
}

#ifdef HFLOAD_X86

// Below this the target is likely to be read again soon; above it, writing around the cache saves reading the
// lines first.
constexpr size_t kStreamingBytes = 64 << 10;

#define HFLOAD_AVX2 __attribute__((target("avx2,f16c")))

bool has_avx2() { return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("f16c") != 0; }

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

template <bool streaming>
HFLOAD_AVX2 inline void store(std::byte* at, __m256i value) {
  if constexpr (streaming) {
    _mm256_stream_si256(reinterpret_cast<__m256i*>(at), value);
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), value);
  }
}

constexpr size_t kBlock = 16;  // elements that one step of the vector loop converts

template <CastKind kind, bool streaming>
HFLOAD_AVX2 inline void cast_block(const std::byte* source, std::byte* target) {
  if constexpr (kind == CastKind::f32_to_f16 || kind == CastKind::f32_to_bf16) {
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(source + 32));
    if constexpr (kind == CastKind::f32_to_f16) {
      store<streaming>(target, pack_f16(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high)));
    } else {
      store<streaming>(target, pack(round_to_bf16(low), round_to_bf16(high)));
    }
  } else {
    const __m128i low = load_16(source);
    const __m128i high = load_16(source + 16);
    if constexpr (kind == CastKind::f16_to_f32) {
      store<streaming>(target, _mm256_castps_si256(_mm256_cvtph_ps(low)));
      store<streaming>(target + 32, _mm256_castps_si256(_mm256_cvtph_ps(high)));
    } else if constexpr (kind == CastKind::bf16_to_f32) {
      store<streaming>(target, widen_bf16(low));
      store<streaming>(target + 32, widen_bf16(high));
    } else if constexpr (kind == CastKind::f16_to_bf16) {
      store<streaming>(target, pack(round_to_bf16(_mm256_castps_si256(_mm256_cvtph_ps(low))),
                                    round_to_bf16(_mm256_castps_si256(_mm256_cvtph_ps(high)))));
    } else {
      store<streaming>(target,
                       pack_f16(_mm256_castsi256_ps(widen_bf16(low)), _mm256_castsi256_ps(widen_bf16(high))));
    }
  }
}

template <CastKind kind, bool streaming>
HFLOAD_AVX2 void cast_blocks(const std::byte* source, std::byte* target, size_t blocks) {
  using Element = CastElement<kind>;
  for (size_t i = 0; i < blocks; ++i) {
    cast_block<kind, streaming>(source + i * kBlock * sizeof(typename Element::Source),
                                target + i * kBlock * sizeof(typename Element::Target));
  }
  if constexpr (streaming) _mm_sfence();
}

template <CastKind kind>
void cast_avx2(const std::byte* source, std::byte* target, size_t count) {
  constexpr size_t kSource = sizeof(typename CastElement<kind>::Source);
  constexpr size_t kTarget = sizeof(typename CastElement<kind>::Target);
  const size_t misaligned = reinterpret_cast<uintptr_t>(target) % 32;
  bool streaming = count * kTarget >= kStreamingBytes && misaligned % kTarget == 0;
  if (streaming && misaligned != 0) {
    const size_t head = (32 - misaligned) / kTarget;
    cast_scalar<kind>(source, target, head);
    source += head * kSource;
    target += head * kTarget;
    count -= head;
  }
  const size_t blocks = count / kBlock;
  if (streaming) {
    cast_blocks<kind, true>(source, target, blocks);
  } else {
    cast_blocks<kind, false>(source, target, blocks);
  }
  const size_t done = blocks * kBlock;
  cast_scalar<kind>(source + done * kSource, target + done * kTarget, count - done);
}

#endif

struct Scalar {
  template <CastKind kind>
  static void run(const std::byte* source, std::byte* target, size_t count) {
    cast_scalar<kind>(source, target, count);
  }
};

#ifdef HFLOAD_X86
struct Avx2 {
  template <CastKind kind>
  static void run(const std::byte* source, std::byte* target, size_t count) {
    cast_avx2<kind>(source, target, count);
  }
};
#endif

template <class Path>
void dispatch(CastKind kind, const void* source, void* target, size_t count) {
  if (count == 0) return;
  const auto* from = static_cast<const std::byte*>(source);
  auto* to = static_cast<std::byte*>(target);
  switch (kind) {
    case CastKind::none:
      std::memcpy(to, from, count);
      return;
    case CastKind::f32_to_f16:
      return Path::template run<CastKind::f32_to_f16>(from, to, count);
    case CastKind::f32_to_bf16:
      return Path::template run<CastKind::f32_to_bf16>(from, to, count);
    case CastKind::f16_to_f32:
      return Path::template run<CastKind::f16_to_f32>(from, to, count);
    case CastKind::f16_to_bf16:
      return Path::template run<CastKind::f16_to_bf16>(from, to, count);
    case CastKind::bf16_to_f32:
      return Path::template run<CastKind::bf16_to_f32>(from, to, count);
    case CastKind::bf16_to_f16:
      return Path::template run<CastKind::bf16_to_f16>(from, to, count);
  }
}

}  // namespace

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
  dispatch<Scalar>(kind, source, target, count);
}

void cast(CastKind kind, const void* source, void* target, size_t count) {
#ifdef HFLOAD_X86
  if (has_avx2()) return dispatch<Avx2>(kind, source, target, count);
#endif
  dispatch<Scalar>(kind, source, target, count);
}

}  // namespace hfload
