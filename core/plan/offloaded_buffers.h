#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/plan/infer_device_map.h"

namespace hfload {

/// accelerate keeps the buffers of offloaded modules on a GPU. A warning where they are more than any GPU has
/// left (accelerate 1.x, `infer_auto_device_map`). `buffer_bytes`: of the modules on each device;
/// `taken_bytes`: what each holds and holds back.
std::optional<std::string> offloaded_buffers_warning(const std::vector<DeviceUsage>& devices,
                                                     const std::vector<double>& buffer_bytes,
                                                     const std::vector<double>& taken_bytes);

}  // namespace hfload
