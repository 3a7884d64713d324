#pragma once

#include <string>

#include "kernels/gemm.h"

namespace hfload {

/// OpenBLAS as the rival of the products on the CPU, found at run time: nothing is linked with it. Products
/// of fp32 without epilogue, batch or padding.
class OpenBlas {
 public:
  /// Looks for libopenblas.so.0. Where it is absent, `available` is false and `description` says so.
  explicit OpenBlas(unsigned threads);

  bool available() const { return sgemm_ != nullptr; }
  /// "OpenBLAS 0.3.21 …", with what it says of its build, or why there is none.
  const std::string& description() const { return description_; }

  /// C = A·Bᵀ; false where it does not take part.
  bool multiply(const Gemm& gemm) const;

 private:
  void (*sgemm_)(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                 const float* a, int lda, const float* b, int ldb, float beta, float* c, int ldc) = nullptr;
  std::string description_;
};

}  // namespace hfload
