#include "core/plan/device.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>

#include "core/base/error.h"
#include "core/base/units.h"

namespace hfload {
namespace {

// More than any machine has, and small enough that a list of them costs nothing.
constexpr uint32_t kMaxOrdinal = 4095;

std::string_view strip(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
  return text.substr(0, text.find_last_not_of(kSpaces) + 1);
}

}  // namespace

std::string to_string(Device device) {
  switch (device.kind) {
    case Device::Kind::gpu:
      return std::to_string(device.ordinal);
    case Device::Kind::cpu:
      return "cpu";
    case Device::Kind::disk:
      return "disk";
  }
  throw Error(ErrorCode::internal, "a device of no kind");
}

Device parse_device(std::string_view text) {
  if (text == "cpu") return Device::cpu();
  if (text == "disk") return Device::disk();
  if (text == "cuda") return Device::gpu(0);
  std::string_view digits = text;
  if (digits.starts_with("cuda:")) digits.remove_prefix(5);
  uint32_t ordinal = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), ordinal);
  if (error != std::errc() || end != digits.data() + digits.size() || digits.empty() ||
      ordinal > kMaxOrdinal) {
    throw Error(ErrorCode::invalid_device, fmt::format("'{}' is not a device", text))
        .with_hint("A GPU is named by its number, such as 0 or cuda:0; the others are cpu and disk.");
  }
  return Device::gpu(ordinal);
}

MaxMemory parse_max_memory(std::string_view text) {
  MaxMemory memory;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view entry = text.substr(begin, end - begin);
    begin = end + 1;
    const size_t equals = entry.find('=');
    if (equals == std::string_view::npos) {
      throw Error(ErrorCode::invalid_size,
                  fmt::format("'{}' in --max-memory gives no size for a device", entry))
          .with_hint("Write it as 0=20GiB,1=21GiB,cpu=60GiB.");
    }
    const Device device = parse_device(strip(entry.substr(0, equals)));
    if (std::ranges::find(memory, device, &DeviceMemory::device) != memory.end()) {
      throw Error(ErrorCode::invalid_device,
                  fmt::format("--max-memory names device {} twice", to_string(device)))
          .with_hint("Give each device one budget; --max-memory may be repeated for other devices.");
    }
    memory.push_back({device, static_cast<double>(parse_byte_size(strip(entry.substr(equals + 1))))});
  }
  std::ranges::sort(memory, {}, &DeviceMemory::device);
  return memory;
}

}  // namespace hfload
