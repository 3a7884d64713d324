#include "kernels/gemm_few_rows.h"

#include <algorithm>

#include "kernels/gemm_finish.h"

namespace hfload {

void multiply_few_rows(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld) {
  if (has_few_rows_avx2()) return multiply_few_rows_avx2(rows, begin, end, out, out_ld);
  multiply_few_rows_portable(rows, begin, end, out, out_ld);
}

// Eight sums side by side, as vector units hold them, so that any compiler can use those of its processor.
void multiply_few_rows_portable(const FewRows& rows, int64_t begin, int64_t end, float* out, int64_t out_ld) {
  constexpr int64_t kLanes = 8;
  for (int64_t column = begin; column < end; ++column) {
    float sums[kMostFewRows][kLanes] = {};
    for (int64_t i = 0; i < rows.k; i += kFewRowsUnit) {
      float b[kFewRowsUnit];
      widen_elements(rows.dtype, rows.b, column * rows.k + i, kFewRowsUnit, b);
      for (int64_t row = 0; row < rows.m; ++row) {
        const float* const a = rows.a + row * rows.k + i;
        for (int64_t j = 0; j < kFewRowsUnit; j += kLanes) {
          for (int64_t lane = 0; lane < kLanes; ++lane) sums[row][lane] += a[j + lane] * b[j + lane];
        }
      }
    }
    for (int64_t row = 0; row < rows.m; ++row) {
      float sum = 0;
      for (const float lane : sums[row]) sum += lane;
      out[row * out_ld + column - begin] = sum;
    }
  }
}

}  // namespace hfload
