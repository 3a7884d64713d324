#pragma once

#include "kernels/gemm.h"

namespace hfload {

/// Rows of A that one pass over B serves at most.
inline constexpr int64_t kMostFewRows = 8;
/// K is a multiple of this; B is padded with zeros up to it.
inline constexpr int64_t kFewRowsUnit = 32;

/// Products of a few rows with a weight on the host, bound by how fast B is read: B stays in its own dtype,
/// is read once from front to back, and is widened in registers.
struct FewRows {
  GemmDtype dtype = GemmDtype::f32;  ///< of B
  int64_t m = 0;                     ///< 1 to kMostFewRows
  int64_t k = 0;                     ///< a multiple of kFewRowsUnit
  const float* a = nullptr;          ///< [m, k], without gaps, widened
  const void* b = nullptr;           ///< [n, k], without gaps
};

/// out[row · out_ld + column - begin] = the sum over k of A[row] · B[column], in fp32, for every row and the
/// columns `begin` to `end`. The order of a sum depends on m, k and the processor alone. Picks the fastest
/// code for this processor.
void multiply_few_rows(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld);

/// The ways that it chooses among; AVX2 is only to be called where has_few_rows_avx2().
void multiply_few_rows_portable(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld);
void multiply_few_rows_avx2(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld);
bool has_few_rows_avx2();

}  // namespace hfload
