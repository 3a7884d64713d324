#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/gemm_dispatch.h"

namespace hfload {

/// What the checks of one row of the dispatch table found, for one dtype.
struct GemmCheck {
  GemmRule rule;
  GemmDtype dtype;
  uint64_t products = 0;  ///< computed
  uint64_t elements = 0;  ///< compared with the reference
  uint64_t faults = 0;    ///< products with an element off by more than its bound, or bytes that are not C's
  double worst = 0;       ///< greatest error as a part of its bound
  std::string first_fault = {};
};

/// Computes products on GPU `ordinal` by every kernel that can, over shapes 1, odd, prime, ragged, k = 0 and
/// large, all epilogues, scalings, batches and paddings, into memory that was poisoned, and compares them
/// with gemm_reference_element: random numbers within gemm_error_bound, small whole numbers bit for bit.
/// `progress` gets the part done, 0 to 1. Throws Error(no_cuda), Error(cuda_error), Error(out_of_memory).
/// Products of more than `most_multiplications` are left out, for runs that are slow.
std::vector<GemmCheck> check_gemms(uint32_t ordinal, int64_t most_multiplications,
                                   const std::function<void(double)>& progress);

}  // namespace hfload
