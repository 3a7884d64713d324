#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/units.h"
#include "core/plan/infer_device_map.h"
#include "test/support/fixtures.h"

/// What the two replays of accelerate's answers share.
namespace hfload::test {

/// A map's entries in the order in which hfload prints them, which is the order the fixtures are stored in.
using Dictionary = std::vector<std::pair<std::string, std::string>>;

inline Dictionary dictionary(const DeviceMap& map) {
  Dictionary entries;
  for (const DeviceMapEntry& entry : map) entries.emplace_back(entry.module, to_string(entry.device));
  return entries;
}

inline std::string device_name(const ConfigValue& value) {
  if (const auto* text = std::get_if<std::string>(&value.value)) return *text;
  return std::to_string(uint_of(value));
}

inline Dictionary dictionary(const ConfigValue& expected) {
  Dictionary entries;
  for (const auto& [module, device] : object_of(expected)) entries.emplace_back(module, device_name(device));
  return entries;
}

/// Budgets as a user gives them: strings with a unit, or numbers.
inline MaxMemory max_memory_of(const ConfigValue& pairs) {
  MaxMemory memory;
  for (const ConfigValue& pair : array_of(pairs)) {
    const ConfigValue::Array& entry = array_of(pair);
    const auto* text = std::get_if<std::string>(&entry[1].value);
    const double bytes = text != nullptr ? static_cast<double>(parse_byte_size(*text)) : number_of(entry[1]);
    memory.push_back({parse_device(string_of(entry[0])), bytes});
  }
  std::ranges::sort(memory, {}, &DeviceMemory::device);
  return memory;
}

inline std::optional<Dtype> dtype_of(const ConfigValue& value) {
  if (value.is_null()) return std::nullopt;
  return dtype_from_torch_name(string_of(value)).value();
}

/// Python's exception where it fails, else nothing.
inline std::optional<std::string> error_of(const ConfigValue& expected) {
  const ConfigValue* error = expected.find("error");
  return error == nullptr ? std::nullopt : std::optional(string_of(*error));
}

/// Holds for any plan, also where Python gives none: every tensor that a checkpoint would hold is on some
/// device.
inline void check_covers_everything(const ModuleTree& tree, const DeviceMap& map) {
  const DeviceMapLookup lookup(map);
  for (const ShellTensor& t : tree.tensors) {
    if (!t.persistent) continue;
    INFO(tree.tensor_name(t));
    CHECK(lookup.find(tree.tensor_name(t)) != nullptr);
  }
}

inline void check_budgets(const DevicePlan& plan, const ConfigValue& balanced) {
  const MaxMemory expected = max_memory_of(balanced);
  REQUIRE(plan.devices.size() >= expected.size());
  for (const DeviceMemory& m : expected) {
    const auto it = std::ranges::find(plan.devices, m.device, &DeviceUsage::device);
    REQUIRE(it != plan.devices.end());
    INFO("device " << to_string(m.device));
    if (m.device != Device::disk()) CHECK(it->budget_bytes == m.bytes);
  }
}

}  // namespace hfload::test
