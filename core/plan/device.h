#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hfload {

/// A place for weights: a GPU by ordinal, the CPU's memory, or the disk. 4 bytes, for 10^5 tensors.
struct Device {
  enum class Kind : uint8_t { gpu, cpu, disk };
  Kind kind = Kind::cpu;
  uint16_t ordinal = 0;  ///< of a GPU, else 0

  static constexpr Device gpu(uint32_t ordinal) { return {Kind::gpu, static_cast<uint16_t>(ordinal)}; }
  static constexpr Device cpu() { return {Kind::cpu, 0}; }
  static constexpr Device disk() { return {Kind::disk, 0}; }
  bool is_gpu() const { return kind == Kind::gpu; }
  auto operator<=>(const Device&) const = default;
};

/// "0", "cpu", "disk": the value in an hf_device_map and the key in max_memory.
std::string to_string(Device device);

/// Reads "0", "cpu", "disk", and, as torch spells them, "cuda" and "cuda:1". Throws Error(invalid_device).
Device parse_device(std::string_view text);

/// A budget in bytes. Fractions of a byte occur where accelerate computes in floating point.
struct DeviceMemory {
  Device device;
  double bytes = 0;
};

/// Budgets in accelerate's order: GPUs ascending, then cpu, then disk (whose number is ignored). A device
/// that is absent gets nothing; what fits nowhere goes to the disk.
using MaxMemory = std::vector<DeviceMemory>;

/// Reads "0=20GiB, 1=21GiB, cpu=60GiB", spaces round devices and sizes or not, and sorts it. Throws
/// Error(invalid_size), and Error(invalid_device) also for a device that is named twice.
MaxMemory parse_max_memory(std::string_view text);

}  // namespace hfload
