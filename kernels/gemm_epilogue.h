#pragma once

#include <cmath>

#include "kernels/gemm.h"
#include "kernels/host_device.h"

namespace hfload {

HFLOAD_HOST_DEVICE inline float gelu_erf(float x) { return 0.5F * x * (1.0F + erff(x * 0.70710678F)); }
HFLOAD_HOST_DEVICE inline float gelu_tanh(float x) {
  return 0.5F * x * (1.0F + tanhf(0.79788456F * (x + 0.044715F * x * x * x)));
}
HFLOAD_HOST_DEVICE inline float silu(float x) { return x / (1.0F + expf(-x)); }

/// Applies the epilogue to `count` elements of one row in place. `bias` and `d` are read where the epilogue
/// has them.
template <int count>
HFLOAD_HOST_DEVICE inline void apply_epilogue(GemmEpilogue epilogue, float (&x)[count],
                                              const float (&bias)[count], const float (&d)[count]) {
  switch (epilogue) {
    case GemmEpilogue::none:
      break;
    case GemmEpilogue::bias:
      for (int i = 0; i < count; ++i) x[i] += bias[i];
      break;
    case GemmEpilogue::bias_gelu_erf:
      for (int i = 0; i < count; ++i) x[i] = gelu_erf(x[i] + bias[i]);
      break;
    case GemmEpilogue::bias_gelu_tanh:
      for (int i = 0; i < count; ++i) x[i] = gelu_tanh(x[i] + bias[i]);
      break;
    case GemmEpilogue::bias_silu:
      for (int i = 0; i < count; ++i) x[i] = silu(x[i] + bias[i]);
      break;
    case GemmEpilogue::gated_silu:
      for (int i = 0; i < count; ++i) x[i] *= silu(d[i]);
      break;
    case GemmEpilogue::gated_gelu:
      for (int i = 0; i < count; ++i) x[i] *= gelu_tanh(d[i]);
      break;
    case GemmEpilogue::residual:
      for (int i = 0; i < count; ++i) x[i] += d[i];
      break;
  }
}

}  // namespace hfload
