#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/run/gemm_timing.h"
#include "kernels/gemm_dispatch.h"

namespace hfload {

/// One product, timed beside cuBLAS.
struct GemmTiming {
  GemmSize size;
  GemmPlan plan = {};
  double seconds = 0;                           ///< median of the blocks of launches, per launch
  std::optional<double> cublas_seconds = {};    ///< cublasGemmEx; nothing where cuBLAS is absent or refuses
  std::optional<double> cublaslt_seconds = {};  ///< the fastest of cublasLt's first 8 heuristics
};

struct GemmBench {
  std::string gpu;     ///< its name
  std::string cublas;  ///< version, or why there is none
  std::vector<GemmTiming> timings;
};

/// Times the products of language models and large squares on GPU `ordinal`, in blocks of launches that
/// alternate with cuBLAS's, on normally distributed numbers, over as many sets of operands as exceed the L2
/// cache twice. fp32 stands beside cuBLAS's pedantic mode. `progress` gets the part done, 0 to 1. Throws
/// Error(no_cuda), Error(cuda_error), Error(out_of_memory).
GemmBench bench_gemms(uint32_t ordinal, const std::function<void(double)>& progress);

}  // namespace hfload
