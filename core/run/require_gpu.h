#pragma once

#include <cstdint>

#include "kernels/gemm_dispatch.h"

namespace hfload {

/// Makes GPU `ordinal` the current device and says what the GEMM kernels need to know of it. Throws
/// Error(no_cuda) where there is none, or none that the kernels are built for.
GemmDevice require_gpu(uint32_t ordinal);

}  // namespace hfload
