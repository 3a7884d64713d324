#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/run/cpu_gemm.h"

namespace hfload {

/// What the checks of one way to multiply on the CPU found, for one dtype.
struct CpuGemmCheck {
  CpuGemmWay way;
  GemmDtype dtype;
  uint64_t products = 0;  ///< computed
  uint64_t elements = 0;  ///< compared with the reference
  uint64_t faults = 0;    ///< products with an element off by more than its bound, or bytes that are not C's
  double worst = 0;       ///< greatest error as a part of its bound
  std::string first_fault = {};
};

/// Computes products on the CPU by every way that can, over shapes 1, odd, prime, ragged and k = 0, all
/// dtypes, epilogues, scalings, batches and paddings, into memory that was poisoned, and compares them with
/// gemm_reference_element: random numbers within gemm_error_bound, small whole numbers bit for bit.
/// `progress` gets the part done, 0 to 1. Throws what CpuGemm throws.
std::vector<CpuGemmCheck> check_cpu_gemms(CpuEngine& engine, const std::function<void(double)>& progress);

}  // namespace hfload
