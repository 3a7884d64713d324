#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/run/gemm_trial.h"

namespace hfload {

/// What the checks of one way to multiply found, for one dtype.
struct GemmCheck {
  std::string kernel;     ///< of the dispatch table; on the CPU the way's name
  std::string tile = {};  ///< "64x64"; empty on the CPU
  GemmDtype dtype;
  uint64_t products = 0;  ///< computed
  uint64_t elements = 0;  ///< compared with the reference
  uint64_t faults = 0;    ///< products with an element off by more than its bound, or bytes that are not C's
  double worst = 0;       ///< greatest error as a part of its bound
  std::string first_fault = {};

  /// "mma 64x64", "rows".
  std::string name() const { return tile.empty() ? kernel : kernel + " " + tile; }
  /// Counts a product.
  void count(const GemmCase::Shape& shape, const GemmVerdict& verdict);
};

/// Computes products on GPU `ordinal` by every row of the dispatch table that can, over shapes 1, odd, prime,
/// ragged, k = 0 and large, all epilogues, scalings, batches and paddings, into memory that was poisoned, and
/// compares them with gemm_reference_element: random numbers within gemm_error_bound, small whole numbers bit
/// for bit. `progress` gets the part done, 0 to 1. Throws Error(no_cuda), Error(cuda_error),
/// Error(out_of_memory). Products of more than `most_multiplications` are left out, for runs that are slow.
std::vector<GemmCheck> check_gemms(uint32_t ordinal, int64_t most_multiplications,
                                   const std::function<void(double)>& progress);

class CpuEngine;

/// The same on the CPU, by every way, over smaller shapes. Throws what CpuGemm throws.
std::vector<GemmCheck> check_cpu_gemms(CpuEngine& engine, const std::function<void(double)>& progress);

}  // namespace hfload
