#include "cli/plan_picture.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "cli/text.h"
#include "core/base/name_hash.h"
#include "core/base/units.h"

namespace hfload::cli {
namespace {

/// The number of a layer; nothing for a name that is a number alone or does not end in one.
std::optional<uint64_t> layer_number(const std::string& name) {
  const auto parts = split_number(name);
  return parts && !parts->first.empty() ? std::optional(parts->second) : std::nullopt;
}

/// The list of layers, or the module, that is drawn as one part.
struct Place {
  std::string part;
  std::optional<uint64_t> layer;
};

class PictureMaker {
 public:
  explicit PictureMaker(const PlannedModel& model)
      : tree_(model.shell.tree), sizes_(model.sizes), lookup_(model.plan.device_map) {
    for (const DeviceShares& shares : device_shares(model.plan)) picture_.devices.push_back({shares, {}});
    find_devices();
    has_layers_.resize(tree_.modules.size());
    for (ModuleId m = 1; m < tree_.modules.size(); ++m) {
      if (!layer_number(tree_.module_name(m))) continue;
      for (ModuleId up = tree_.names.parent(m); up != kNoId && !has_layers_[up]; up = tree_.names.parent(up))
        has_layers_[up] = true;
    }
  }

  PlanPicture make() {
    visit(0, {});
    return std::move(picture_);
  }

 private:
  enum class Spread : uint8_t { nowhere, one_device, several };

  /// On which device each module's weights are.
  void find_devices() {
    spread_.resize(tree_.modules.size());
    device_.resize(tree_.modules.size());
    for (TensorId t = 0; t < tree_.tensors.size(); ++t) {
      const Device* device = lookup_.find(tree_.tensor_name(t));
      if (device == nullptr || sizes_.tensor_bytes[t] == 0) continue;
      for (ModuleId m = tree_.tensors[t].module; m != kNoId; m = tree_.names.parent(m)) {
        if (spread_[m] == Spread::nowhere) {
          spread_[m] = Spread::one_device;
          device_[m] = *device;
        } else if (device_[m] != *device) {
          spread_[m] = Spread::several;
        }
      }
    }
  }

  void visit(ModuleId m, Place place) {
    const Module& module = tree_.modules[m];
    if (spread_[m] == Spread::nowhere) return;
    const std::string name = tree_.module_name(m);
    if (const auto number = layer_number(name); number && !place.layer)
      place = {tree_.module_name(tree_.names.parent(m)), number};
    const bool is_unit = m != 0 && (place.layer || !has_layers_[m]);
    if (!place.layer) place.part = name;
    if (spread_[m] == Spread::one_device && is_unit) {
      add(device_[m], name, place, sizes_.weights(m));
      return;
    }
    tree_.for_each_tensor_of(m, [&](TensorId t) {
      const std::string tensor = tree_.tensor_name(t);
      if (const Device* device = lookup_.find(tensor)) add(*device, tensor, place, sizes_.tensor_bytes[t]);
    });
    for (const ModuleId child : module.children) visit(child, place);
  }

  void add(Device device, const std::string& name, const Place& place, double bytes) {
    const auto is_it = [&](const PictureDevice& d) { return d.shares.device == device; };
    const auto drawn = std::find_if(picture_.devices.begin(), picture_.devices.end(), is_it);
    if (bytes == 0 || drawn == picture_.devices.end()) return;
    const std::string& part_name = place.part.empty() ? name : place.part;
    const auto [it, is_new] = parts_.emplace(part_name, picture_.parts.size());
    if (is_new) picture_.parts.push_back({part_name, 0});
    picture_.parts[it->second].bytes += bytes;
    drawn->segments.push_back({name, it->second, place.layer, bytes});
  }

  const ModuleTree& tree_;
  const ModuleSizes& sizes_;
  const DeviceMapLookup lookup_;
  std::vector<Spread> spread_;
  std::vector<Device> device_;
  std::vector<bool> has_layers_;
  std::unordered_map<std::string, size_t, NameHash> parts_;
  PlanPicture picture_;
};

}  // namespace

std::vector<DeviceShares> device_shares(const DevicePlan& plan) {
  std::vector<DeviceShares> all;
  for (const DeviceUsage& usage : plan.devices) {
    DeviceShares shares{.device = usage.device, .weights = usage.used_bytes, .caches = usage.cache_bytes};
    shares.limited = std::isfinite(usage.budget_bytes);
    if (shares.limited) {
      const double rest = std::max(0.0, usage.budget_bytes - shares.weights - shares.caches);
      shares.held_back = std::min(rest, usage.reserved_bytes);
      shares.free = rest - shares.held_back;
    }
    if (shares.whole() > 0) all.push_back(shares);
  }
  return all;
}

std::vector<std::string> describe_shares(const DeviceShares& shares) {
  std::vector<std::string> texts{"weights " + format_byte_size(shares.weights)};
  const auto add = [&](std::string_view name, double bytes) {
    if (bytes > 0) texts.push_back(fmt::format("{} {}", name, format_byte_size(bytes)));
  };
  add("caches", shares.caches);
  add("held back", shares.held_back);
  add("free", shares.free);
  return texts;
}

PlanPicture make_plan_picture(const PlannedModel& model) { return PictureMaker(model).make(); }

}  // namespace hfload::cli
