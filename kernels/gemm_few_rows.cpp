#include "kernels/gemm_few_rows.h"

#include <bit>
#include <cstring>

#include "kernels/cast_scalar.h"
#include "kernels/gemm_finish.h"

#define HFLOAD_LANES_TARGET
#include "kernels/gemm_few_rows_tiles.h"

namespace hfload {
namespace {

/// Vectors as wide as every 64-bit processor has them, in the compiler's own words.
struct PortableLanes {
  typedef float Vector __attribute__((vector_size(16)));
  typedef uint32_t Words __attribute__((vector_size(16)));
  static constexpr int kCount = 4;
  static constexpr int columns(int rows) { return rows == 4 ? 3 : 4; }

  static Vector zero() { return Vector{}; }
  static Vector load(const float* from) {
    Vector x;
    std::memcpy(&x, from, sizeof x);
    return x;
  }
  static void store(float* to, Vector x) { std::memcpy(to, &x, sizeof x); }
  static Vector add(Vector x, Vector y) { return x + y; }
  static Vector multiply_add(Vector x, Vector y, Vector z) { return x * y + z; }
  static float sum(Vector x) { return (x[0] + x[2]) + (x[1] + x[3]); }

  template <GemmDtype dtype>
  static Vector load_wide(const std::byte* unit, int part) {
    if constexpr (dtype == GemmDtype::f32) {
      return load(reinterpret_cast<const float*>(unit) + part * kCount);
    } else if constexpr (dtype == GemmDtype::bf16) {
      Words pairs;
      std::memcpy(&pairs, unit + part % 4 * 16, sizeof pairs);
      return std::bit_cast<Vector>(part < 4 ? pairs << 16 : pairs & 0xffff0000U);
    } else {
      Vector x;
      for (int i = 0; i < kCount; ++i) {
        uint16_t bits;
        std::memcpy(&bits, unit + 2 * (part * kCount + i), sizeof bits);
        x[i] = std::bit_cast<float>(f32_from_f16(bits));
      }
      return x;
    }
  }
};

constexpr int64_t kHalf = kFewRowsUnit / 2;

/// Widens up to a unit of `dtype`, in the order of packed A.
void widen_unit(GemmDtype dtype, const std::byte* from, int64_t count, float* to) {
  if (dtype != GemmDtype::bf16) {
    widen_elements(dtype, from, 0, count, to);
    return;
  }
  uint32_t pairs[kHalf] = {};
  std::memcpy(pairs, from, static_cast<size_t>(2 * count));
  for (int64_t i = 0; i < kHalf; ++i) {
    to[i] = std::bit_cast<float>(pairs[i] << 16);
    to[kHalf + i] = std::bit_cast<float>(pairs[i] & 0xffff0000U);
  }
}

}  // namespace

void pack_few_rows(GemmDtype dtype, const void* a, int64_t ld, int64_t m, int64_t k, int64_t padded_k,
                   float* packed) {
  if (padded_k == 0) return;
  const int64_t bytes = gemm_element_bytes(dtype);
  const int64_t first = few_rows_first_group(m);
  for (int64_t row = 0; row < m; ++row) {
    const int64_t group = row < first ? 0 : first;
    const int64_t stride = (group == 0 ? first : m - first) * kHalf;
    const auto* const from = static_cast<const std::byte*>(a);
    float* to = packed + group * padded_k + (row - group) * kHalf;
    for (int64_t i = 0; i < padded_k; i += kFewRowsUnit, to += 2 * stride) {
      float unit[kFewRowsUnit] = {};
      if (i < k) widen_unit(dtype, from + (row * ld + i) * bytes, std::min(kFewRowsUnit, k - i), unit);
      std::memcpy(to, unit, sizeof unit / 2);
      std::memcpy(to + stride, unit + kHalf, sizeof unit / 2);
    }
  }
}

void multiply_few_rows(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld) {
  if (has_few_rows_avx512()) return multiply_few_rows_avx512(rows, begin, end, out, out_ld);
  if (has_few_rows_avx2()) return multiply_few_rows_avx2(rows, begin, end, out, out_ld);
  multiply_few_rows_portable(rows, begin, end, out, out_ld);
}

void multiply_few_rows_portable(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld) {
  multiply_by_lanes<PortableLanes>(rows, begin, end, out, out_ld);
}

#if !defined(__x86_64__)
bool has_few_rows_avx2() { return false; }
bool has_few_rows_avx512() { return false; }
void multiply_few_rows_avx2(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld) {
  multiply_few_rows_portable(rows, begin, end, out, out_ld);
}
void multiply_few_rows_avx512(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld) {
  multiply_few_rows_portable(rows, begin, end, out, out_ld);
}
#endif

}  // namespace hfload
