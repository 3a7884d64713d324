#pragma once

#include <cstddef>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/gemm.h"

namespace hfload {

inline constexpr GemmDtype kGemmDtypeList[] = {GemmDtype::f32, GemmDtype::f16, GemmDtype::bf16};

enum class GemmOperand : uint8_t { a, b, c, d, bias };

/// A matrix product with its memory on the host. Rows of A, B, C and D are `pad` elements longer than the
/// matrix; the padding holds elements like any other.
struct GemmCase {
  struct Shape {
    GemmDtype dtype = GemmDtype::f32;
    GemmEpilogue epilogue = GemmEpilogue::none;
    int64_t m = 1, n = 1, k = 1, batch = 1;
    float alpha = 1, beta = 0;
    int64_t pad = 0;
  };

  /// `element(operand, index)` gives the value at `index` of an operand's memory.
  template <class Element>
  GemmCase(const Shape& s, Element element) : shape(s) {
    const int64_t rows[] = {s.m, s.n, s.m, s.m, 1};
    const int64_t lengths[] = {s.k + s.pad, s.k + s.pad, s.n + s.pad, s.n + s.pad, s.n};
    for (size_t i = 0; i < 5; ++i) {
      const int64_t count = (i == 4 ? 1 : s.batch) * rows[i] * lengths[i];
      memory[i].resize(static_cast<size_t>(count * gemm_element_bytes(s.dtype)));
      for (int64_t j = 0; j < count; ++j) {
        gemm_store(s.dtype, memory[i].data(), j, element(static_cast<GemmOperand>(i), j));
      }
    }
    gemm = {s.dtype, s.epilogue, s.m, s.n, s.k, s.batch, s.alpha, s.beta, {}, {}, {}, {}, nullptr};
    gemm.a = {nullptr, lengths[0], rows[0] * lengths[0]};
    gemm.b = {nullptr, lengths[1], rows[1] * lengths[1]};
    gemm.c = {nullptr, lengths[2], rows[2] * lengths[2]};
    gemm.d = {nullptr, lengths[3], rows[3] * lengths[3]};
    point();
  }
  GemmCase(const GemmCase& other) : shape(other.shape), gemm(other.gemm) {
    for (size_t i = 0; i < 5; ++i) memory[i] = other.memory[i];
    point();
  }
  GemmCase& operator=(const GemmCase&) = delete;

  /// Makes NaN of what C's rows hold; the padding stays.
  void poison_target() {
    for (int64_t row = 0; row < shape.batch * shape.m; ++row) {
      for (int64_t column = 0; column < shape.n; ++column) {
        gemm_store(shape.dtype, memory[2].data(), row * gemm.c.ld + column,
                   std::numeric_limits<double>::quiet_NaN());
      }
    }
  }

  double target(int64_t entry, int64_t row, int64_t column) const {
    return gemm_load(shape.dtype, gemm.c.data, entry * gemm.c.batch_stride + row * gemm.c.ld + column);
  }

  /// Whether the bytes between the rows of C are those of `other`.
  bool padding_is(const GemmCase& other) const {
    const int64_t bytes = gemm_element_bytes(shape.dtype);
    for (int64_t row = 0; row < shape.batch * shape.m; ++row) {
      const auto at = static_cast<size_t>((row * gemm.c.ld + shape.n) * bytes);
      const auto count = static_cast<size_t>((gemm.c.ld - shape.n) * bytes);
      if (std::memcmp(memory[2].data() + at, other.memory[2].data() + at, count) != 0) return false;
    }
    return true;
  }

  Shape shape;
  Gemm gemm;
  std::vector<std::byte> memory[5];  ///< by GemmOperand

 private:
  void point() {
    gemm.a.data = memory[0].data();
    gemm.b.data = memory[1].data();
    gemm.c.data = memory[2].data();
    gemm.d.data = memory[3].data();
    gemm.bias = memory[4].data();
  }
};

/// Normally distributed elements. C holds them too.
inline GemmCase random_gemm_case(const GemmCase::Shape& shape, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  return GemmCase(shape, [&](GemmOperand, int64_t) { return normal(random); });
}

/// Whole numbers from -3 to 3: every product and sum of fewer than a million of them is exact in fp32, so
/// that a correct kernel gives the reference's bits, whatever the order of the sum.
inline GemmCase exact_gemm_case(const GemmCase::Shape& shape, unsigned seed) {
  std::mt19937 random(seed);
  return GemmCase(shape, [&](GemmOperand, int64_t) { return static_cast<double>(random() % 7) - 3; });
}

}  // namespace hfload
