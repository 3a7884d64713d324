#include <algorithm>
#include <limits>
#include <utility>

#include "core/plan/infer_device_map.h"

namespace hfload {

DevicePlan plan_from_device_map(const ModuleTree& tree, const ModuleSizes& sizes, DeviceMap map,
                                const MaxMemory& max_memory) {
  constexpr double kUnlimited = std::numeric_limits<double>::infinity();
  DevicePlan plan;
  for (const DeviceMemory& m : max_memory) {
    plan.devices.push_back({m.device, m.device == Device::disk() ? kUnlimited : m.bytes, 0, 0, 0});
  }
  const auto usage_of = [&](Device device) -> DeviceUsage& {
    auto it = std::ranges::find(plan.devices, device, &DeviceUsage::device);
    // A device that the map names and no budget limits.
    if (it == plan.devices.end()) it = plan.devices.insert(it, {device, kUnlimited, 0, 0, 0});
    return *it;
  };
  for (const DeviceMapEntry& entry : map) ++usage_of(entry.device).modules;
  const DeviceMapLookup lookup(map);
  NameMaker make_name(tree.names);
  for (TensorId i = 0; i < tree.tensors.size(); ++i) {
    if (const Device* device = lookup.find(make_name(tree.tensors[i].module, tree.tensors[i].name)))
      usage_of(*device).used_bytes += sizes.tensor_bytes[i];
  }
  std::ranges::sort(plan.devices, {}, &DeviceUsage::device);
  plan.device_map = std::move(map);
  return plan;
}

}  // namespace hfload
