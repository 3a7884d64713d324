#pragma once

#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "core/load/cuda_check.h"

namespace hfload {

/// A block of memory on the current device, GPU `ordinal`. Begins at a multiple of 256 bytes. The constructor
/// throws Error(out_of_memory).
class DeviceBlock {
 public:
  DeviceBlock(size_t bytes, uint32_t ordinal) : bytes_(bytes), ordinal_(ordinal) {
    check_cuda(cudaMalloc(&data_, std::max<size_t>(bytes, 1)), "cudaMalloc", ordinal);
  }
  DeviceBlock(DeviceBlock&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_), ordinal_(other.ordinal_) {}
  DeviceBlock& operator=(DeviceBlock&&) = delete;
  ~DeviceBlock() {
    if (data_ != nullptr) cudaFree(data_);
  }

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  void write(const void* from, size_t bytes, size_t offset = 0) {
    check_cuda(cudaMemcpy(static_cast<std::byte*>(data_) + offset, from, bytes, cudaMemcpyHostToDevice),
               "cudaMemcpy", ordinal_);
  }
  void read(void* to) const {
    check_cuda(cudaMemcpy(to, data_, bytes_, cudaMemcpyDeviceToHost), "cudaMemcpy", ordinal_);
  }

 private:
  void* data_ = nullptr;
  size_t bytes_;
  uint32_t ordinal_;
};

}  // namespace hfload
