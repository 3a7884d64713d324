#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

namespace hfload::test {

inline void require_success(cudaError_t status) {
  if (status != cudaSuccess) throw std::runtime_error(std::string("CUDA: ") + cudaGetErrorString(status));
}

/// A block of memory on the current device.
class DeviceBuffer {
 public:
  explicit DeviceBuffer(size_t bytes) : bytes_(bytes) { require_success(cudaMalloc(&data_, bytes)); }
  explicit DeviceBuffer(const std::vector<std::byte>& content) : DeviceBuffer(content.size()) {
    require_success(cudaMemcpy(data_, content.data(), bytes_, cudaMemcpyHostToDevice));
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer() { cudaFree(data_); }

  std::byte* data() const { return static_cast<std::byte*>(data_); }
  std::vector<std::byte> content() const {
    std::vector<std::byte> bytes(bytes_);
    require_success(cudaMemcpy(bytes.data(), data_, bytes_, cudaMemcpyDeviceToHost));
    return bytes;
  }

 private:
  void* data_ = nullptr;
  size_t bytes_;
};

}  // namespace hfload::test
