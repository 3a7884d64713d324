#include "core/plan/cache.h"

#include <algorithm>
#include <map>
#include <optional>

#include "core/base/checked.h"
#include "core/base/error.h"

namespace hfload {
namespace {

/// Sums of sizes below this are exact in the doubles that planning computes with.
constexpr uint64_t kMostBytes = uint64_t{1} << 50;

uint64_t kept_tokens(const LayerCache& layer, uint64_t context_tokens) {
  if (layer.source_tokens > 0) return layer.source_tokens;
  return layer.window_tokens > 0 ? std::min(layer.window_tokens, context_tokens) : context_tokens;
}

bool grows(const LayerCache& layer, uint64_t context_tokens) {
  return layer.source_tokens == 0 && (layer.window_tokens == 0 || context_tokens < layer.window_tokens);
}

std::optional<uint64_t> layer_bytes(const LayerCache& layer, const CacheOptions& options,
                                    uint64_t element_bytes) {
  auto elements = checked_mul(layer.elements_per_token, kept_tokens(layer, options.context_tokens));
  if (elements) elements = checked_add(*elements, layer.state_elements);
  auto bytes = elements ? checked_mul(*elements, element_bytes) : std::nullopt;
  const auto float32_bytes = checked_mul(layer.float32_state_elements, sizeof(float));
  bytes = bytes && float32_bytes ? checked_add(*bytes, *float32_bytes) : std::nullopt;
  return bytes ? checked_mul(*bytes, options.batch) : std::nullopt;
}

/// The module's device; where a map goes below it, that of the first tensor in it.
std::optional<Device> device_of(const ModuleTree& tree, const DeviceMapLookup& lookup, ModuleId module) {
  if (const Device* device = lookup.find(tree.module_name(module))) return *device;
  std::vector<ModuleId> stack{module};
  while (!stack.empty()) {
    const ModuleId m = stack.back();
    stack.pop_back();
    for (const IdList* tensors : {&tree.parameters_of(m), &tree.buffers_of(m)}) {
      for (const TensorId t : *tensors) {
        if (const Device* device = lookup.find(tree.tensor_name(t))) return *device;
      }
    }
    const IdList& children = tree.modules[m].children;
    stack.insert(stack.end(), children.rbegin(), children.rend());
  }
  return std::nullopt;
}

/// Where each cache's layer is.
std::vector<Device> devices_of(const ModuleTree& tree, const DeviceMap& map,
                               const std::vector<CacheBytes>& caches) {
  const DeviceMapLookup lookup(map);
  std::vector<Device> devices;
  devices.reserve(caches.size());
  for (const CacheBytes& cache : caches)
    devices.push_back(device_of(tree, lookup, cache.module).value_or(Device::disk()));
  return devices;
}

bool is_offloaded(Device device, Device main) {
  return device.kind == Device::Kind::disk || (device == Device::cpu() && main.is_gpu());
}

DeviceUsage& usage_of(DevicePlan& plan, Device device) {
  auto it = std::ranges::find(plan.devices, device, &DeviceUsage::device);
  if (it == plan.devices.end()) {
    it = std::ranges::find_if(plan.devices, [&](const DeviceUsage& other) { return device < other.device; });
    it = plan.devices.insert(it, DeviceUsage{.device = device});
  }
  return *it;
}

/// What is left of a budget beside the caches of offloaded layers. A GPU that has no room for them is left
/// less than nothing: with nothing it would still take modules of no bytes, and so be the main device.
double left_of(const DeviceMemory& memory, const std::map<Device, double>& reserved) {
  const auto it = reserved.find(memory.device);
  if (it == reserved.end()) return memory.bytes;
  if (memory.device.is_gpu() && it->second > memory.bytes) return -1;
  return std::max(0.0, memory.bytes - it->second);
}

MaxMemory less(MaxMemory memory, const std::map<Device, double>& reserved) {
  for (DeviceMemory& m : memory) m.bytes = left_of(m, reserved);
  return memory;
}

/// Takes the caches out of what the solver counted as placed, and shows the budgets as they were.
void split_off_caches(DevicePlan& plan, const ModuleTree& tree, const std::vector<CacheBytes>& caches,
                      const MaxMemory& max_memory, const std::map<Device, double>& reserved,
                      bool caches_on_cpu) {
  const std::vector<Device> devices = devices_of(tree, plan.device_map, caches);
  for (size_t i = 0; i < caches.size(); ++i) {
    if (devices[i].is_gpu() || (devices[i] == Device::cpu() && caches_on_cpu))
      usage_of(plan, devices[i]).used_bytes -= static_cast<double>(caches[i].bytes);
  }
  for (const DeviceMemory& m : max_memory) {
    if (reserved.contains(m.device)) usage_of(plan, m.device).budget_bytes += m.bytes - left_of(m, reserved);
  }
}

}  // namespace

std::vector<CacheBytes> cache_bytes(const ModuleTree& tree, const CacheOptions& options) {
  const uint64_t element_bytes = dtype_info(options.dtype).bits / 8;
  std::vector<CacheBytes> caches;
  caches.reserve(tree.layer_caches.size());
  uint64_t total = 0;
  for (const LayerCache& layer : tree.layer_caches) {
    const auto bytes = layer_bytes(layer, options, element_bytes);
    const auto per_token = checked_mul(layer.elements_per_token, element_bytes);
    if (!bytes || !per_token || *bytes >= kMostBytes - total) {
      throw Error(ErrorCode::does_not_fit, "the caches for that context and batch take 2^50 bytes or more")
          .with_hint("Use a shorter --context or a smaller --batch.");
    }
    total += *bytes;
    caches.push_back({layer.module, *bytes, grows(layer, options.context_tokens) ? *per_token : 0});
  }
  return caches;
}

void add_cache_bytes(ModuleSizes& sizes, const ModuleTree& tree, const std::vector<CacheBytes>& caches) {
  sizes.cache_bytes.resize(tree.modules.size());
  for (const CacheBytes& cache : caches) {
    for (ModuleId m = cache.module; m != kNoId; m = tree.names.parent(m)) {
      sizes.cache_bytes[m] += static_cast<double>(cache.bytes);
      sizes.module_bytes[m] += static_cast<double>(cache.bytes);
    }
  }
}

Device main_device(const DeviceMap& map) {
  const auto gpu = std::ranges::find_if(map, [](const DeviceMapEntry& e) { return e.device.is_gpu(); });
  return gpu == map.end() ? Device::cpu() : gpu->device;
}

void account_caches(DevicePlan& plan, const ModuleTree& tree, const std::vector<CacheBytes>& caches) {
  const Device main = main_device(plan.device_map);
  const std::vector<Device> devices = devices_of(tree, plan.device_map, caches);
  for (size_t i = 0; i < caches.size(); ++i) {
    DeviceUsage& usage = usage_of(plan, is_offloaded(devices[i], main) ? main : devices[i]);
    usage.cache_bytes += static_cast<double>(caches[i].bytes);
    usage.cache_bytes_per_token += caches[i].bytes_per_token;
  }
}

DevicePlan plan_with_caches(const ModuleTree& tree, const std::vector<CacheBytes>& caches,
                            const MaxMemory& max_memory, const PlanForBudgets& plan_for) {
  const auto has_room = [](const DeviceMemory& m) { return m.device.is_gpu() && m.bytes > 0; };
  const bool has_gpu = std::ranges::any_of(max_memory, has_room);
  double total = 0;
  for (const CacheBytes& cache : caches) total += static_cast<double>(cache.bytes);
  std::map<Device, double> reserved;
  bool caches_on_cpu = !has_gpu;
  // Equal layers leave a device one by one, so that many rounds are enough for them. Of layers of many sizes
  // more could be needed: after that all caches are taken off, which is enough at once.
  const size_t exact_rounds = 4 * caches.size() + 16;
  for (size_t round = 0;; ++round) {
    DevicePlan plan = plan_for(less(max_memory, reserved), caches_on_cpu);
    const Device main = main_device(plan.device_map);
    if (!main.is_gpu() && !caches_on_cpu) {
      caches_on_cpu = true;
      continue;
    }
    double needed = 0;
    const std::vector<Device> devices = devices_of(tree, plan.device_map, caches);
    for (size_t i = 0; i < caches.size(); ++i) {
      if (is_offloaded(devices[i], main)) needed += static_cast<double>(caches[i].bytes);
    }
    double& taken = reserved[main];
    if (needed > taken) {
      taken = round < exact_rounds ? needed : total;
      continue;
    }
    split_off_caches(plan, tree, caches, max_memory, reserved, caches_on_cpu);
    account_caches(plan, tree, caches);
    if (has_gpu && !main.is_gpu()) {
      plan.warnings.emplace_back(
          "no GPU has room for a layer beside the caches of the layers that would be offloaded: everything "
          "runs on the CPU");
    }
    return plan;
  }
}

}  // namespace hfload
