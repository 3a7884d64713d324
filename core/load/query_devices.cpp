#include "core/load/query_devices.h"

#include "core/load/cuda_devices.h"
#include "core/load/host_memory.h"

namespace hfload {

MaxMemory query_max_memory() {
  MaxMemory max_memory;
  const int devices = cuda_status().devices;
  for (int ordinal = 0; ordinal < devices; ++ordinal) {
    if (const std::optional<uint64_t> bytes = free_cuda_bytes(ordinal)) {
      max_memory.push_back({Device::gpu(static_cast<uint32_t>(ordinal)), static_cast<double>(*bytes)});
    }
  }
  max_memory.push_back({Device::cpu(), static_cast<double>(available_host_bytes().value_or(0))});
  return max_memory;
}

}  // namespace hfload
