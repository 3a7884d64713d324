#include "kernels/probes.h"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace hfload {
namespace {

/// Makes the compiler believe that a value is needed.
template <class Value>
inline void keep(const Value& value) {
  asm volatile("" : : "m"(value) : "memory");
}

// Enough independent sums to hide the latency of an addition: 4 or 5 cycles, two additions a cycle.
constexpr int kSums = 12;

#if defined(__x86_64__)
constexpr uint64_t kStepsPerRound = 64;
constexpr size_t kStreams = 4;

// The peak probe of one instruction set: `step` is done to every `sum` over and over, `flops` each time. No
// template could do this: a function can only use instructions that it is compiled for itself.
#define HFLOAD_PEAK_PROBE(name, instructions, Vector, start, step, flops) \
  __attribute__((target(instructions))) uint64_t name(uint64_t rounds) {  \
    Vector sums[kSums];                                                   \
    for (Vector & sum : sums) sum = start;                                \
    for (uint64_t round = 0; round < rounds * kStepsPerRound; ++round) {  \
      _Pragma("GCC unroll 12") for (int i = 0; i < kSums; ++i) {          \
        Vector& sum = sums[i];                                            \
        sum = step;                                                       \
      }                                                                   \
    }                                                                     \
    for (const Vector& sum : sums) keep(sum);                             \
    return rounds * kStepsPerRound * kSums * (flops);                     \
  }
HFLOAD_PEAK_PROBE(f32_peak_avx2, "avx2,fma", __m256, _mm256_set1_ps(1.0F),
                  _mm256_fmadd_ps(sum, _mm256_set1_ps(0.999F), _mm256_set1_ps(0.001F)), 8 * 2)
HFLOAD_PEAK_PROBE(f32_peak_avx512, "avx512f", __m512, _mm512_set1_ps(1.0F),
                  _mm512_fmadd_ps(sum, _mm512_set1_ps(0.999F), _mm512_set1_ps(0.001F)), 16 * 2)
#define HFLOAD_BF16_ONES _mm512_cvtne2ps_pbh(_mm512_set1_ps(1.0F), _mm512_set1_ps(1.0F))
HFLOAD_PEAK_PROBE(bf16_peak_avx512, "avx512f,avx512bw,avx512vl,avx512bf16", __m512, _mm512_set1_ps(0.0F),
                  _mm512_dpbf16_ps(sum, HFLOAD_BF16_ONES, HFLOAD_BF16_ONES), 32 * 2)
#undef HFLOAD_BF16_ONES
#undef HFLOAD_PEAK_PROBE

/// Four streams: one alone does not keep a core's prefetchers busy.
__attribute__((target("avx2"))) uint64_t read_avx2(const std::byte* data, size_t bytes) {
  __m256i sums[kStreams];
  for (__m256i& sum : sums) sum = _mm256_setzero_si256();
  const size_t part = bytes / kStreams;
  for (size_t at = 0; at < part; at += 64) {
#pragma GCC unroll 4
    for (size_t stream = 0; stream < kStreams; ++stream) {
      const auto* const from = reinterpret_cast<const __m256i*>(data + stream * part + at);
      sums[stream] = _mm256_add_epi64(sums[stream], _mm256_load_si256(from));
      sums[stream] = _mm256_add_epi64(sums[stream], _mm256_load_si256(from + 1));
    }
  }
  const __m256i all =
      _mm256_add_epi64(_mm256_add_epi64(sums[0], sums[1]), _mm256_add_epi64(sums[2], sums[3]));
  uint64_t parts[4];
  std::memcpy(parts, &all, sizeof parts);
  return parts[0] + parts[1] + parts[2] + parts[3];
}
#endif

uint64_t f32_peak_portable(uint64_t rounds) {
  float sums[kSums][8];
  for (auto& lanes : sums) {
    for (float& lane : lanes) lane = 1;
  }
  for (uint64_t step = 0; step < rounds; ++step) {
    for (auto& lanes : sums) {
      for (float& lane : lanes) lane = lane * 0.999F + 0.001F;
    }
  }
  keep(sums);
  return rounds * kSums * 8 * 2;
}

}  // namespace

uint64_t probe_f32_peak(uint64_t rounds) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") != 0) return f32_peak_avx512(rounds);
  if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0) return f32_peak_avx2(rounds);
#endif
  return f32_peak_portable(rounds);
}

uint64_t probe_bf16_peak(uint64_t rounds) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512bf16") != 0) return bf16_peak_avx512(rounds);
#endif
  static_cast<void>(rounds);
  return 0;
}

uint64_t probe_read(const std::byte* data, size_t bytes) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") != 0) return read_avx2(data, bytes);
#endif
  uint64_t sums[4] = {};
  for (size_t at = 0; at + sizeof sums <= bytes; at += sizeof sums) {
    uint64_t words[4];
    std::memcpy(words, data + at, sizeof words);
    for (int i = 0; i < 4; ++i) sums[i] += words[i];
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

}  // namespace hfload
