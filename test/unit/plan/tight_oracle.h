#pragma once

#include <algorithm>
#include <compare>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/plan/infer_device_map.h"

namespace hfload::test {

/// What `tight` minimises, from the first member to the last.
struct TightObjective {
  double disk_bytes = 0, cpu_bytes = 0;
  size_t boundaries = 0;
  double fullest_share = 0;
  auto operator<=>(const TightObjective&) const = default;
};

/// The definition of `tight` written down a second time, without regard to speed: no code of core/plan but
/// the sizes and the lookup in a map.
class TightOracle {
 public:
  TightOracle(const ModuleTree& tree, const ModuleSizes& sizes, const std::vector<std::string>& no_split,
              const MaxMemory& memory)
      : tree_(tree), sizes_(sizes), no_split_(no_split.begin(), no_split.end()) {
    for (const DeviceMemory& m : memory) {
      if (m.device.is_gpu()) gpus_.push_back(m);
      if (m.device == Device::cpu()) cpu_ = m.bytes;
    }
    below_.resize(tree.modules.size());
    for (TensorId t = 0; t < tree.tensors.size(); ++t) {
      for (ModuleId m = tree.tensors[t].module; m != kNoId; m = tree.names.parent(m)) below_[m].insert(t);
    }
    add_parts(0, 0);
    group();
  }

  size_t pieces() const { return groups_.size(); }

  /// The best of all divisions in order that fit; of equals the one with the most pieces on the first device,
  /// then on the second.
  struct Best {
    TightObjective objective;
    std::vector<size_t> devices;  ///< by piece
  };
  Best best() const {
    std::optional<Best> best;
    std::vector<size_t> devices(groups_.size());
    try_all(devices, 0, 0, best);
    return best.value();
  }

  /// By piece: a number, ascending from the first GPU to the disk. Throws for a map that leaves one out.
  std::vector<size_t> devices(const DeviceMap& map) const {
    const DeviceMapLookup lookup(map);
    std::vector<size_t> devices;
    for (const std::vector<size_t>& members : groups_) {
      const Device* device = lookup.find(units_[members[0]].name);
      if (device == nullptr) throw std::logic_error(units_[members[0]].name);
      devices.push_back(number(*device));
    }
    return devices;
  }

  /// Of a map; nothing where it is no division in order, does not fit, or leaves something out.
  std::optional<TightObjective> objective(const DeviceMap& map) const {
    const DeviceMapLookup lookup(map);
    std::vector<size_t> devices;
    for (const std::vector<size_t>& members : groups_) {
      std::set<size_t> used;
      for (const size_t u : members) {
        const Device* device = lookup.find(units_[u].name);
        if (device == nullptr) return std::nullopt;
        used.insert(number(*device));
      }
      if (used.size() != 1) return std::nullopt;
      devices.push_back(*used.begin());
    }
    if (!std::is_sorted(devices.begin(), devices.end())) return std::nullopt;
    return objective(devices);
  }

  /// Held back with a map, by device: GPUs, CPU, disk.
  std::vector<double> reserves(const DeviceMap& map) const { return reserves(devices(map)); }

  std::vector<double> used(const DeviceMap& map) const {
    const DeviceMapLookup lookup(map);
    std::vector<double> used(gpus_.size() + 2);
    for (const std::vector<size_t>& members : groups_) {
      for (const size_t u : members) used[number(*lookup.find(units_[u].name))] += units_[u].bytes;
    }
    return used;
  }

 private:
  struct Unit {
    std::string name;
    double bytes = 0, layer_bytes = 0;
    std::set<TensorId> tensors;
  };

  size_t number(Device device) const {
    if (device == Device::cpu()) return gpus_.size();
    if (device == Device::disk()) return gpus_.size() + 1;
    size_t g = 0;
    while (gpus_.at(g).device != device) ++g;
    return g;
  }

  void add(const std::string& name, double bytes, std::set<TensorId> tensors, double& carried) {
    Unit unit{name, bytes + carried, 0, std::move(tensors)};
    carried = 0;
    unit.layer_bytes = unit.bytes;
    std::set<TensorId> elsewhere;
    for (const TensorId t : unit.tensors) {
      if (!unit.tensors.contains(tree_.tensors[t].object)) elsewhere.insert(tree_.tensors[t].object);
    }
    for (const TensorId t : elsewhere) unit.layer_bytes += sizes_.tensor_bytes[t];
    units_.push_back(std::move(unit));
  }

  void add_parts(ModuleId m, double carried) {
    const Module& module = tree_.modules[m];
    double beyond = sizes_.module_bytes[m];
    for (const TensorId t : module.parameters) beyond -= sizes_.tensor_bytes[t];
    for (const TensorId t : tree_.buffers_of(m)) beyond -= sizes_.tensor_bytes[t];
    for (const ModuleId c : module.children) beyond -= sizes_.module_bytes[c];
    carried += beyond;
    const auto add_tensors = [&](const IdList& tensors) {
      for (const TensorId t : tensors) add(tree_.tensor_name(t), sizes_.tensor_bytes[t], {t}, carried);
    };
    add_tensors(module.parameters);
    if (m != 0) add_tensors(tree_.buffers_of(m));
    for (const ModuleId c : module.children) {
      const Module& child = tree_.modules[c];
      if (child.children.empty() || no_split_.contains(child.class_name)) {
        add(tree_.module_name(c), sizes_.module_bytes[c], below_[c], carried);
      } else {
        add_parts(c, carried);
        carried = 0;
      }
    }
    if (m == 0) add_tensors(tree_.buffers_of(m));
  }

  /// Units with one label go together: labels of units that share a parameter are made equal until none
  /// differ.
  void group() {
    std::map<TensorId, std::vector<size_t>> holders;  // of each parameter object
    for (size_t u = 0; u < units_.size(); ++u) {
      for (const TensorId t : units_[u].tensors) {
        if (!tree_.tensors[t].is_buffer) holders[tree_.tensors[t].object].push_back(u);
      }
    }
    std::vector<size_t> label(units_.size());
    for (size_t u = 0; u < units_.size(); ++u) label[u] = u;
    for (bool changed = true; changed;) {
      changed = false;
      for (const auto& [object, units] : holders) {
        size_t least = label[units[0]];
        for (const size_t u : units) least = std::min(least, label[u]);
        for (const size_t u : units) {
          changed = changed || label[u] != least;
          label[u] = least;
        }
      }
    }
    std::map<size_t, std::vector<size_t>> groups;
    for (size_t u = 0; u < units_.size(); ++u) groups[label[u]].push_back(u);
    for (auto& [first, members] : groups) {
      if (bytes(members) > 0) groups_.push_back(std::move(members));
    }
  }

  double bytes(const std::vector<size_t>& members) const {
    double sum = 0;
    for (const size_t u : members) sum += units_[u].bytes;
    return sum;
  }

  std::vector<double> reserves(const std::vector<size_t>& devices) const {
    const size_t cpu = gpus_.size(), disk = cpu + 1;
    double offloaded = 0, on_disk = 0;
    for (size_t i = 0; i < devices.size(); ++i) {
      for (const size_t u : groups_[i]) {
        if (devices[i] >= cpu) offloaded = std::max(offloaded, units_[u].layer_bytes);
        if (devices[i] == disk) on_disk = std::max(on_disk, units_[u].layer_bytes);
      }
    }
    std::vector<double> reserves(disk + 1);
    if (!devices.empty() && devices[0] < cpu) reserves[devices[0]] = offloaded;
    if (std::count(devices.begin(), devices.end(), cpu) > 0) reserves[cpu] = on_disk;
    return reserves;
  }

  std::optional<TightObjective> objective(const std::vector<size_t>& devices) const {
    const size_t cpu = gpus_.size(), disk = cpu + 1;
    std::vector<double> used(disk + 1);
    for (size_t i = 0; i < devices.size(); ++i) used[devices[i]] += bytes(groups_[i]);
    const std::vector<double> held_back = reserves(devices);
    TightObjective result;
    for (size_t d = 0; d < disk; ++d) {
      const double budget = d == cpu ? cpu_ : gpus_[d].bytes;
      if (used[d] == 0) continue;
      if (used[d] + held_back[d] > budget) return std::nullopt;
      if (d < cpu) result.fullest_share = std::max(result.fullest_share, used[d] / budget);
    }
    result.disk_bytes = used[disk];
    result.cpu_bytes = used[cpu];
    for (size_t i = 1; i < devices.size(); ++i) result.boundaries += devices[i] != devices[i - 1];
    return result;
  }

  void try_all(std::vector<size_t>& devices, size_t at, size_t from, std::optional<Best>& best) const {
    if (at == devices.size()) {
      const auto found = objective(devices);
      // Divisions come in the order of preference among equals.
      if (found && (!best || *found < best->objective)) best = Best{*found, devices};
      return;
    }
    for (size_t d = from; d < gpus_.size() + 2; ++d) {
      devices[at] = d;
      try_all(devices, at + 1, d, best);
    }
  }

  const ModuleTree& tree_;
  const ModuleSizes& sizes_;
  const std::set<std::string> no_split_;
  std::vector<DeviceMemory> gpus_;
  double cpu_ = 0;
  std::vector<std::set<TensorId>> below_;  ///< by module: all tensors in it
  std::vector<Unit> units_;
  std::vector<std::vector<size_t>> groups_;  ///< units that go together, in order, without those of no bytes
};

}  // namespace hfload::test
