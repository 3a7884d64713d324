#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/gemm.h"

namespace hfload {

/// The size of a product that is timed, without batch, epilogue or padding.
struct GemmSize {
  GemmDtype dtype = GemmDtype::f32;
  int64_t m = 0, n = 0, k = 0;

  double flops() const {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
  /// A, B and C, each once.
  double bytes() const { return static_cast<double>(gemm_element_bytes(dtype) * (m * k + n * k + m * n)); }

  /// The product of that size of contiguous matrices, which have the element's alignment.
  Gemm of(const void* a, const void* b, void* c) const;
};

/// Some 64 thousand normally distributed elements. Their number is prime, so that the rows of a matrix that
/// is filled with them over and over do not repeat each other.
std::vector<std::byte> random_gemm_elements(GemmDtype dtype);

/// The middle one, of an even number the upper of both. `values` is not empty.
double median(std::vector<double> values);

}  // namespace hfload
