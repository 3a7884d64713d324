#pragma once

#include <memory>
#include <string>

#include "kernels/gemm.h"

struct CUstream_st;

namespace hfload {

/// NVIDIA's cuBLAS as the rival of the kernels, found at run time: nothing is linked with it. Products are
/// without epilogue, batch or padding: C = A·Bᵀ, fp32 in pedantic mode.
class Cublas {
 public:
  /// Looks for libcublas.so and libcublasLt.so, of CUDA 13 or 12, where the loader finds them and in
  /// /usr/local/cuda. Where they are absent, `available` is false and `description` says so.
  explicit Cublas(CUstream_st* stream);
  ~Cublas();
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;

  bool available() const;
  /// "cuBLAS 13.0.2", or why there is none.
  const std::string& description() const { return description_; }

  /// Starts the product by cublasGemmEx; false where cuBLAS refuses it.
  bool multiply(const Gemm& gemm);

  /// How many ways cublasLt proposes for products of this shape, at most 8. `multiply_lt` takes the `way`-th.
  int prepare_lt(const Gemm& gemm);
  bool multiply_lt(const Gemm& gemm, int way);

 private:
  struct Library;
  std::unique_ptr<Library> library_;
  std::string description_;
};

}  // namespace hfload
