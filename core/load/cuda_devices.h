#pragma once

#include <cstdint>
#include <optional>

namespace hfload {

/// Free bytes of a CUDA device (cudaMemGetInfo); nothing when the device cannot be used.
std::optional<uint64_t> free_cuda_bytes(int ordinal);

}  // namespace hfload
