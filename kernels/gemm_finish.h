#pragma once

#include "kernels/gemm.h"

namespace hfload {

/// Stores `count` elements of C in row `row` of batch entry `entry`, from `column` on, on the host:
/// epilogue(alpha · product + beta · C) in fp32, rounded to the dtype once. `product` holds the `count` sums
/// of A·Bᵀ; nullptr stands for zeros. D may be C itself.
void finish_gemm_row(const Gemm& gemm, int64_t entry, int64_t row, int64_t column, int64_t count,
                     const float* product);

/// `count` elements of a dtype, from the `offset`-th on, as fp32, exactly.
void widen_elements(GemmDtype dtype, const void* data, int64_t offset, int64_t count, float* out);

}  // namespace hfload
