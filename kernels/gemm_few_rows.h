#pragma once

#include "kernels/gemm.h"

namespace hfload {

/// Rows of A that one pass over B serves at most.
inline constexpr int64_t kMostFewRows = 8;
/// K is a multiple of this; B is padded with zeros up to it.
inline constexpr int64_t kFewRowsUnit = 32;

/// Products of a few rows with a weight on the host, bound by how fast B is read: B stays in its own dtype,
/// is read once, and is widened in registers.
struct FewRows {
  GemmDtype dtype = GemmDtype::f32;  ///< of B
  int64_t m = 0;                     ///< 1 to kMostFewRows
  int64_t k = 0;                     ///< a multiple of kFewRowsUnit
  const float* a = nullptr;          ///< what pack_few_rows made of A
  const void* b = nullptr;           ///< [n, k], without gaps
};

/// Up to four rows are multiplied together; of more the first half, rounded up, then the second.
constexpr int64_t few_rows_first_group(int64_t m) { return m <= 4 ? m : (m + 1) / 2; }

/// Widens A, [m, k] of `dtype` with rows `ld` elements apart, and lays it out as the kernels read it, one
/// group after the other: [padded_k / 16][rows of the group][16] floats, zeros from k on. Of bf16, 16 even
/// elements of a unit come first and then the 16 odd ones, so that B is widened by a shift and by a mask
/// alone. `packed` has room for m · padded_k floats.
void pack_few_rows(GemmDtype dtype, const void* a, int64_t ld, int64_t m, int64_t k, int64_t padded_k,
                   float* packed);

/// out[row · out_ld + column - begin] = the sum over k of A[row] · B[column], in fp32, for every row and the
/// columns `begin` to `end`. The order of a sum depends on m, k and the processor alone. Picks the fastest
/// code for this processor.
void multiply_few_rows(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld);

/// The ways that it chooses among; only to be called where this processor has the instructions (AVX2, FMA and
/// F16C; AVX-512 F).
void multiply_few_rows_portable(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld);
void multiply_few_rows_avx2(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld);
void multiply_few_rows_avx512(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld);
bool has_few_rows_avx2();
bool has_few_rows_avx512();

}  // namespace hfload
