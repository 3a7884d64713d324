#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cast_scalar.h"
#include "kernels/gemm.h"

namespace hfload {
namespace {

constexpr int64_t kMaxSize = std::numeric_limits<int32_t>::max();

struct Format {
  int mantissa_bits;
  int min_exponent;  ///< of normal numbers
};

Format format_of(GemmDtype dtype) {
  switch (dtype) {
    case GemmDtype::f16:
      return {10, -14};
    case GemmDtype::bf16:
      return {7, -126};
    case GemmDtype::f32:
      break;
  }
  return {23, -126};
}

/// The distance of the dtype's numbers around x.
double unit_at(GemmDtype dtype, double x) {
  const Format format = format_of(dtype);
  const int exponent = x == 0 ? format.min_exponent : std::max(std::ilogb(x), format.min_exponent);
  return std::ldexp(1.0, exponent - format.mantissa_bits);
}

int64_t offset(int64_t ld, int64_t batch_stride, int64_t entry, int64_t row) {
  return entry * batch_stride + row * ld;
}

double gelu_erf(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }
double gelu_tanh(double x) {
  const double root = std::sqrt(2 / std::acos(-1.0));
  return 0.5 * x * (1 + std::tanh(root * (x + 0.044715 * x * x * x)));
}
double silu(double x) { return x / (1 + std::exp(-x)); }

double gate(GemmEpilogue epilogue, double d) {
  return epilogue == GemmEpilogue::gated_silu ? silu(d) : gelu_tanh(d);
}

double operand(const Gemm& gemm, int64_t entry, int64_t row, int64_t column) {
  if (!gemm_has_operand(gemm.epilogue)) return 0;
  return gemm_load(gemm.dtype, gemm.d.data, offset(gemm.d.ld, gemm.d.batch_stride, entry, row) + column);
}

double bias_of(const Gemm& gemm, int64_t column) {
  return gemm_has_bias(gemm.epilogue) ? gemm_load(gemm.dtype, gemm.bias, column) : 0;
}

/// beta·C, without reading C where beta is 0.
double scaled_target(const Gemm& gemm, int64_t entry, int64_t row, int64_t column) {
  if (gemm.beta == 0) return 0;
  const int64_t at = offset(gemm.c.ld, gemm.c.batch_stride, entry, row) + column;
  return static_cast<double>(gemm.beta) * gemm_load(gemm.dtype, gemm.c.data, at);
}

double squared_norm(const Gemm& gemm, const GemmInput& input, int64_t entry, int64_t row) {
  const int64_t begin = offset(input.ld, input.batch_stride, entry, row);
  double sum = 0;
  for (int64_t i = 0; i < gemm.k; ++i) {
    const double x = gemm_load(gemm.dtype, input.data, begin + i);
    sum += x * x;
  }
  return sum;
}

bool rows_overlap(int64_t ld, int64_t length, int64_t rows) { return rows > 1 && ld < length; }

bool misaligned(const void* data, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(bytes) != 0;
}

}  // namespace

const char* gemm_dtype_name(GemmDtype dtype) {
  return dtype == GemmDtype::f32 ? "float32" : dtype == GemmDtype::f16 ? "float16" : "bfloat16";
}

const char* gemm_epilogue_name(GemmEpilogue epilogue) {
  constexpr const char* kNames[kGemmEpilogues] = {
      "none", "bias", "bias_gelu_erf", "bias_gelu_tanh", "bias_silu", "gated_silu", "gated_gelu", "residual"};
  return kNames[static_cast<size_t>(epilogue)];
}

const char* gemm_fault(const Gemm& gemm) {
  for (const int64_t size : {gemm.m, gemm.n, gemm.k, gemm.batch}) {
    if (size < 0 || size > kMaxSize) return "a size is negative or above 2^31 - 1";
  }
  for (const int64_t ld : {gemm.a.ld, gemm.b.ld, gemm.c.ld, gemm.d.ld}) {
    if (ld < 0 || ld > kMaxSize) return "a leading dimension is negative or above 2^31 - 1";
  }
  for (const int64_t stride :
       {gemm.a.batch_stride, gemm.b.batch_stride, gemm.c.batch_stride, gemm.d.batch_stride}) {
    if (stride < 0 || stride > kMaxSize * kMaxSize / std::max<int64_t>(gemm.batch, 1)) {
      return "a batch stride is negative or too large";
    }
  }
  if (rows_overlap(gemm.a.ld, gemm.k, gemm.m) || rows_overlap(gemm.b.ld, gemm.k, gemm.n) ||
      rows_overlap(gemm.c.ld, gemm.n, gemm.m)) {
    return "a leading dimension is shorter than its row";
  }
  if (gemm_has_operand(gemm.epilogue) && rows_overlap(gemm.d.ld, gemm.n, gemm.m)) {
    return "the leading dimension of D is shorter than its row";
  }
  if (gemm.m == 0 || gemm.n == 0 || gemm.batch == 0) return nullptr;
  const int64_t bytes = gemm_element_bytes(gemm.dtype);
  if (gemm.c.data == nullptr || misaligned(gemm.c.data, bytes)) return "C is missing or misaligned";
  if (gemm.batch > 1 && gemm.c.batch_stride < (gemm.m - 1) * gemm.c.ld + gemm.n) {
    return "batch entries of C overlap";
  }
  if (gemm.k > 0 && (gemm.a.data == nullptr || gemm.b.data == nullptr || misaligned(gemm.a.data, bytes) ||
                     misaligned(gemm.b.data, bytes))) {
    return "A or B is missing or misaligned";
  }
  if (gemm_has_bias(gemm.epilogue) && (gemm.bias == nullptr || misaligned(gemm.bias, bytes))) {
    return "the bias is missing or misaligned";
  }
  if (gemm_has_operand(gemm.epilogue) && (gemm.d.data == nullptr || misaligned(gemm.d.data, bytes))) {
    return "D is missing or misaligned";
  }
  return nullptr;
}

double gemm_load(GemmDtype dtype, const void* data, int64_t index) {
  const auto* const at = static_cast<const std::byte*>(data) + index * gemm_element_bytes(dtype);
  uint32_t bits = 0;
  if (dtype == GemmDtype::f32) {
    std::memcpy(&bits, at, 4);
  } else {
    uint16_t half = 0;
    std::memcpy(&half, at, 2);
    bits = dtype == GemmDtype::f16 ? f32_from_f16(half) : f32_from_bf16(half);
  }
  return static_cast<double>(std::bit_cast<float>(bits));
}

void gemm_store(GemmDtype dtype, void* data, int64_t index, double value) {
  // Rounded here, once: through float it would be rounded twice. The division and the product are exact.
  if (std::isfinite(value) && value != 0) {
    const double unit = unit_at(dtype, value);
    value = std::nearbyint(value / unit) * unit;
  }
  auto* const at = static_cast<std::byte*>(data) + index * gemm_element_bytes(dtype);
  const bool overflows = std::abs(value) > static_cast<double>(std::numeric_limits<float>::max());
  const float single = overflows
                           ? std::copysign(std::numeric_limits<float>::infinity(), value > 0 ? 1.0F : -1.0F)
                           : static_cast<float>(value);
  const auto bits = std::bit_cast<uint32_t>(single);
  if (dtype == GemmDtype::f32) {
    std::memcpy(at, &bits, 4);
  } else {
    const uint16_t half = dtype == GemmDtype::f16 ? f16_from_f32(bits) : bf16_from_f32(bits);
    std::memcpy(at, &half, 2);
  }
}

double gemm_reference_element(const Gemm& gemm, int64_t entry, int64_t row, int64_t column) {
  const int64_t a = offset(gemm.a.ld, gemm.a.batch_stride, entry, row);
  const int64_t b = offset(gemm.b.ld, gemm.b.batch_stride, entry, column);
  double sum = 0;
  for (int64_t i = 0; i < gemm.k; ++i) {
    sum += gemm_load(gemm.dtype, gemm.a.data, a + i) * gemm_load(gemm.dtype, gemm.b.data, b + i);
  }
  const double x = static_cast<double>(gemm.alpha) * sum + scaled_target(gemm, entry, row, column);
  switch (gemm.epilogue) {
    case GemmEpilogue::none:
      break;
    case GemmEpilogue::bias:
      return x + bias_of(gemm, column);
    case GemmEpilogue::bias_gelu_erf:
      return gelu_erf(x + bias_of(gemm, column));
    case GemmEpilogue::bias_gelu_tanh:
      return gelu_tanh(x + bias_of(gemm, column));
    case GemmEpilogue::bias_silu:
      return silu(x + bias_of(gemm, column));
    case GemmEpilogue::gated_silu:
    case GemmEpilogue::gated_gelu:
      return gate(gemm.epilogue, operand(gemm, entry, row, column)) * x;
    case GemmEpilogue::residual:
      return x + operand(gemm, entry, row, column);
  }
  return x;
}

void gemm_reference(const Gemm& gemm) {
  for (int64_t entry = 0; entry < gemm.batch; ++entry) {
    for (int64_t row = 0; row < gemm.m; ++row) {
      const int64_t begin = offset(gemm.c.ld, gemm.c.batch_stride, entry, row);
      for (int64_t column = 0; column < gemm.n; ++column) {
        gemm_store(gemm.dtype, gemm.c.data, begin + column, gemm_reference_element(gemm, entry, row, column));
      }
    }
  }
}

double gemm_error_bound(const Gemm& gemm, int64_t entry, int64_t row, int64_t column) {
  const double u = std::ldexp(1.0, -22);
  const double norms =
      std::sqrt(squared_norm(gemm, gemm.a, entry, row) * squared_norm(gemm, gemm.b, entry, column));
  const double d = operand(gemm, entry, row, column);
  const double result = std::abs(gemm_reference_element(gemm, entry, row, column));
  const bool gated = gemm.epilogue == GemmEpilogue::gated_silu || gemm.epilogue == GemmEpilogue::gated_gelu;
  const double others = std::abs(scaled_target(gemm, entry, row, column)) + std::abs(bias_of(gemm, column)) +
                        (gated ? 0 : std::abs(d));
  double bound =
      u * static_cast<double>(gemm.k + 8) * std::abs(static_cast<double>(gemm.alpha)) * norms + u * others;
  if (gated) {
    bound = std::abs(gate(gemm.epilogue, d)) * bound + u * result;
    // A gate near 0 is a difference of nearly equal numbers: its error is of the size of u·|d|.
    bound += u * std::abs(d) * (norms * std::abs(static_cast<double>(gemm.alpha)) + others);
  } else if (gemm.epilogue >= GemmEpilogue::bias_gelu_erf && gemm.epilogue <= GemmEpilogue::bias_silu) {
    bound = 1.13 * bound + u * (result + others + norms * std::abs(static_cast<double>(gemm.alpha)));
  }
  return bound + unit_at(gemm.dtype, result + bound) / 2;
}

}  // namespace hfload
