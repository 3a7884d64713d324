#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/planning.h"

namespace hfload::cli {

/// How a device's memory is used, in bytes: what the bars of a terminal and the picture draw.
struct DeviceShares {
  Device device;
  double weights = 0;
  double caches = 0;
  double held_back = 0;  ///< of the solver's reserve, what is not taken
  double free = 0;
  bool limited = true;  ///< false: no budget limits the device, and nothing is held back or free

  double taken() const { return weights + caches + held_back; }
  /// The budget; where more is taken than that, what is taken.
  double whole() const { return taken() + free; }
};

/// Of all devices that have a budget or hold something.
std::vector<DeviceShares> device_shares(const DevicePlan& plan);

/// "weights 17.2 GiB", "caches 1.50 GiB", "free 400 MiB": what is there, weights always.
std::vector<std::string> describe_shares(const DeviceShares& shares);

/// A module, or a tensor of a split one, on one device.
struct PictureSegment {
  std::string name;
  size_t part = 0;                ///< into PlanPicture::parts
  std::optional<uint64_t> layer;  ///< its number where it is one of a list of layers, or in one
  double bytes = 0;
};

struct PictureDevice {
  DeviceShares shares;
  std::vector<PictureSegment> segments;  ///< in module order
};

/// A plan to draw: every byte of weights in a segment, layers apart.
struct PlanPicture {
  struct Part {
    std::string name;  ///< a list of layers ("model.layers"), or a module outside of them ("lm_head")
    double bytes = 0;
  };
  std::vector<Part> parts;  ///< in module order
  std::vector<PictureDevice> devices;
};

PlanPicture make_plan_picture(const PlannedModel& model);

}  // namespace hfload::cli
