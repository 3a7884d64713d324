#include "kernels/gemm_finish.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "kernels/cast.h"
#include "kernels/gemm_epilogue.h"

namespace hfload {
namespace {

constexpr int kBlock = 64;

void narrow_elements(GemmDtype dtype, const float* values, int64_t count, void* data, int64_t offset) {
  auto* const to = static_cast<std::byte*>(data) + offset * gemm_element_bytes(dtype);
  if (dtype == GemmDtype::f32) {
    std::memcpy(to, values, static_cast<size_t>(count) * sizeof(float));
  } else {
    cast(dtype == GemmDtype::f16 ? CastKind::f32_to_f16 : CastKind::f32_to_bf16, values, to,
         static_cast<size_t>(count));
  }
}

void finish_block(const Gemm& gemm, int64_t entry, int64_t row, int64_t column, int64_t count,
                  const float* product) {
  const int64_t target = entry * gemm.c.batch_stride + row * gemm.c.ld + column;
  float x[kBlock] = {}, c[kBlock] = {}, bias[kBlock] = {}, d[kBlock] = {};
  if (product != nullptr) {
    for (int64_t i = 0; i < count; ++i) x[i] = gemm.alpha * product[i];
  }
  if (gemm.beta != 0) {
    widen_elements(gemm.dtype, gemm.c.data, target, count, c);
    for (int64_t i = 0; i < count; ++i) x[i] += gemm.beta * c[i];
  }
  if (gemm_has_bias(gemm.epilogue)) widen_elements(gemm.dtype, gemm.bias, column, count, bias);
  if (gemm_has_operand(gemm.epilogue)) {
    widen_elements(gemm.dtype, gemm.d.data, entry * gemm.d.batch_stride + row * gemm.d.ld + column, count, d);
  }
  apply_epilogue(gemm.epilogue, x, bias, d);
  narrow_elements(gemm.dtype, x, count, gemm.c.data, target);
}

}  // namespace

void widen_elements(GemmDtype dtype, const void* data, int64_t offset, int64_t count, float* out) {
  const auto* const from = static_cast<const std::byte*>(data) + offset * gemm_element_bytes(dtype);
  if (dtype == GemmDtype::f32) {
    std::memcpy(out, from, static_cast<size_t>(count) * sizeof(float));
  } else {
    cast(dtype == GemmDtype::f16 ? CastKind::f16_to_f32 : CastKind::bf16_to_f32, from, out,
         static_cast<size_t>(count));
  }
}

void finish_gemm_row(const Gemm& gemm, int64_t entry, int64_t row, int64_t column, int64_t count,
                     const float* product) {
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    finish_block(gemm, entry, row, column + begin, std::min<int64_t>(kBlock, count - begin),
                 product == nullptr ? nullptr : product + begin);
  }
}

}  // namespace hfload
