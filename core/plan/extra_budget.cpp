#include "core/plan/extra_budget.h"

#include <algorithm>
#include <cmath>

#include "core/base/error.h"

namespace hfload {
namespace {

/// Up to here sums of bytes and eighths of bytes are exact, and no model is larger.
constexpr uint64_t kMostBytes = uint64_t{1} << 50;

/// The first doubling starts at this fraction of what has to move, below what can be enough in most cases.
constexpr double kFirstFraction = 1.0 / 16;

bool has_entry_on(const DevicePlan& plan, Device::Kind kind) {
  return std::ranges::any_of(plan.device_map,
                             [&](const DeviceMapEntry& entry) { return entry.device.kind == kind; });
}

bool uses_disk(const DevicePlan& plan) { return has_entry_on(plan, Device::Kind::disk); }
bool is_offloaded(const DevicePlan& plan) { return uses_disk(plan) || has_entry_on(plan, Device::Kind::cpu); }

double bytes_on(const DevicePlan& plan, bool cpu_too) {
  double bytes = 0;
  for (const DeviceUsage& usage : plan.devices) {
    if (usage.device.kind == Device::Kind::disk || (cpu_too && usage.device.kind == Device::Kind::cpu))
      bytes += usage.used_bytes;
  }
  return bytes;
}

MaxMemory raised(MaxMemory memory, Device device, uint64_t bytes) {
  auto it = std::ranges::lower_bound(memory, device, {}, &DeviceMemory::device);
  if (it == memory.end() || it->device != device) it = memory.insert(it, {device, 0});
  it->bytes += static_cast<double>(bytes);
  return memory;
}

/// `first` > 0: the first rise that is tried.
std::optional<uint64_t> find_rise(uint64_t first, const std::function<bool(uint64_t)>& is_enough) {
  if (!is_enough(kMostBytes)) return std::nullopt;
  uint64_t too_small = 0, enough = first;
  while (enough < kMostBytes && !is_enough(enough)) {
    too_small = enough;
    enough = std::min(2 * enough, kMostBytes);
  }
  while (enough - too_small > 1) {
    const uint64_t middle = too_small + (enough - too_small) / 2;
    (is_enough(middle) ? enough : too_small) = middle;
  }
  return enough;
}

}  // namespace

ExtraBudgets find_extra_budgets(const MaxMemory& max_memory, const DevicePlan& plan, const Replan& replan) {
  MaxMemory memory = max_memory;
  std::ranges::sort(memory, {}, &DeviceMemory::device);
  const auto rise_of = [&](Device device, bool cpu_too) {
    const double moved = std::floor(kFirstFraction * bytes_on(plan, cpu_too));
    const auto is_enough = [&](uint64_t bytes) {
      try {
        const DevicePlan other = replan(raised(memory, device, bytes));
        return !(cpu_too ? is_offloaded(other) : uses_disk(other));
      } catch (const Error&) {
        return false;
      }
    };
    const auto first = static_cast<uint64_t>(std::clamp(moved, 1.0, static_cast<double>(kMostBytes)));
    return ExtraBudget{device, find_rise(first, is_enough)};
  };

  ExtraBudgets extra;
  for (const DeviceMemory& m : memory) {
    if (!m.device.is_gpu()) continue;
    if (uses_disk(plan)) extra.without_disk.push_back(rise_of(m.device, false));
    if (is_offloaded(plan)) extra.without_offload.push_back(rise_of(m.device, true));
  }
  if (uses_disk(plan)) extra.without_disk.push_back(rise_of(Device::cpu(), false));
  return extra;
}

}  // namespace hfload
