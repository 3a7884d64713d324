#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/host_device.h"

namespace hfload {

/// What A, B, C, D and the bias hold; one dtype for all of them.
enum class GemmDtype : uint8_t { f32, f16, bf16 };

/// What is done to the product before it is stored; `x` is alpha·A·Bᵀ + beta·C.
enum class GemmEpilogue : uint8_t {
  none,            ///< x
  bias,            ///< x + bias
  bias_gelu_erf,   ///< gelu(x + bias), exact
  bias_gelu_tanh,  ///< gelu(x + bias), by the tanh formula
  bias_silu,       ///< silu(x + bias)
  gated_silu,      ///< silu(D) · x: D is the gate's product, x the up projection
  gated_gelu,      ///< gelu(D) · x, by the tanh formula, as T5 and Gemma have it
  residual         ///< x + D
};
inline constexpr int kGemmDtypes = 3;
inline constexpr int kGemmEpilogues = 8;

/// A row-major matrix, or one per batch entry. `ld` is the distance of rows, `batch_stride` that of batch
/// entries, both in elements. A batch stride of 0 gives every entry the same matrix.
struct GemmInput {
  const void* data = nullptr;
  int64_t ld = 0;
  int64_t batch_stride = 0;
};
struct GemmOutput {
  void* data = nullptr;
  int64_t ld = 0;
  int64_t batch_stride = 0;
};

/// One matrix product, or `batch` of them: C = epilogue(alpha·A·Bᵀ + beta·C).
///
/// Shapes: A [m, k], B [n, k] (a weight as checkpoints store it, [out_features, in_features]), C [m, n],
/// D [m, n] for residual and gated epilogues, bias [n] for those with a bias; all row-major. Sizes are 0 to
/// 2^31 - 1; with k = 0 the product is 0. Rows do not overlap: ld is at least the row's length.
///
/// Arithmetic: products are summed up in fp32 (true fp32 for f32, never TF32) in an order that depends on the
/// shape and the device alone, so the same call gives the same bits. alpha, beta and the epilogue are applied
/// in fp32, and the result is rounded to the dtype once, to nearest even. With beta = 0, C is not read: what
/// it held, NaN included, does not matter. `gemm_error_bound` is what a result may be off by.
///
/// Memory: pointers are multiples of the element's size. C overlaps none of the inputs, except that D may be
/// C itself with the same strides. Any alignment works. The fastest kernels need A and B to begin at
/// multiples of 16 bytes, with rows and batch entries multiples of 16 bytes apart, as a checkpoint's tensors
/// do; tensor cores need multiples of 4 bytes.
struct Gemm {
  GemmDtype dtype = GemmDtype::f32;
  GemmEpilogue epilogue = GemmEpilogue::none;
  int64_t m = 0, n = 0, k = 0;
  int64_t batch = 1;
  float alpha = 1;
  float beta = 0;
  GemmInput a, b, d;
  GemmOutput c;
  const void* bias = nullptr;
};

/// Bytes per element.
inline constexpr int64_t gemm_element_bytes(GemmDtype dtype) { return dtype == GemmDtype::f32 ? 4 : 2; }
HFLOAD_HOST_DEVICE constexpr bool gemm_has_bias(GemmEpilogue epilogue) {
  return epilogue >= GemmEpilogue::bias && epilogue <= GemmEpilogue::bias_silu;
}
/// Whether the epilogue reads D.
HFLOAD_HOST_DEVICE constexpr bool gemm_has_operand(GemmEpilogue epilogue) {
  return epilogue >= GemmEpilogue::gated_silu;
}
const char* gemm_dtype_name(GemmDtype dtype);
const char* gemm_epilogue_name(GemmEpilogue epilogue);

/// What breaks the contract above, in one sentence; nullptr when nothing does.
const char* gemm_fault(const Gemm& gemm);

/// Element [row, column] of C in entry `entry` of the batch, summed up in double and not rounded to the
/// dtype. Reads C where beta is not 0. All pointers are host memory.
double gemm_reference_element(const Gemm& gemm, int64_t entry, int64_t row, int64_t column);

/// The whole product by that definition, every element rounded once.
void gemm_reference(const Gemm& gemm);

/// The most by which element [row, column] of a correct result may differ from gemm_reference_element, before
/// C is overwritten. With u = 2^-22, what a tensor core's truncating fp32 addition may lose in one step, and
/// e(x) half a unit of the dtype at x:
///   sum       s = u·(k + 8)·|alpha|·‖a_row‖₂·‖b_row‖₂ + u·(|beta·c| + |bias| + |d|)   (Cauchy-Schwarz)
///   epilogue  1.13·s + u·|result| where an activation is applied (its slope is at most 1.13), |act(d)|·s
///   where
///             it is a gate
///   rounding  e(|result| + the above)
double gemm_error_bound(const Gemm& gemm, int64_t entry, int64_t row, int64_t column);

/// One element of `data` as a double, and the double nearest to it that the dtype can hold, stored.
double gemm_load(GemmDtype dtype, const void* data, int64_t index);
void gemm_store(GemmDtype dtype, void* data, int64_t index, double value);

}  // namespace hfload
