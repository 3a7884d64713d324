#include "core/plan/offloaded_buffers.h"

#include <fmt/core.h>

namespace hfload {

std::optional<std::string> offloaded_buffers_warning(const std::vector<DeviceUsage>& devices,
                                                     const std::vector<double>& buffer_bytes,
                                                     const std::vector<double>& taken_bytes) {
  double offloaded = 0;
  bool has_gpu = false;
  for (size_t i = 0; i < devices.size(); ++i) {
    if (!devices[i].device.is_gpu()) offloaded += buffer_bytes[i];
    has_gpu = has_gpu || devices[i].device.is_gpu();
  }
  if (offloaded == 0 || !has_gpu) return std::nullopt;
  for (size_t i = 0; i < devices.size(); ++i) {
    if (devices[i].device.is_gpu() && devices[i].budget_bytes >= offloaded + taken_bytes[i])
      return std::nullopt;
  }
  return fmt::format(
      "the buffers of offloaded layers take {:.0f} bytes, for which no GPU has room left; use "
      "--offload-buffers if a GPU runs out of memory",
      offloaded);
}

}  // namespace hfload
