#include "core/plan/device_map.h"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "core/base/error.h"
#include "core/base/join.h"

namespace hfload {
namespace {

/// Orders names so that what is below a module follows it directly.
bool stands_before(std::string_view a, std::string_view b) {
  const auto [x, y] = std::ranges::mismatch(a, b);
  if (x == a.end() || y == b.end()) return x == a.end() && y != b.end();
  if (*x == '.' || *y == '.') return *x == '.';
  return *x < *y;
}

class Cleaner {
 public:
  explicit Cleaner(DeviceMap map) : map_(std::move(map)), is_dropped_(map_.size()) {
    order_.resize(map_.size());
    std::iota(order_.begin(), order_.end(), 0U);
    // Of a module's own entry and a tensor's of the same name the last counts.
    std::ranges::stable_sort(order_, stands_before, [&](uint32_t entry) { return name(entry); });
    const auto equals_next = [&](size_t i) {
      return i + 1 < order_.size() && name(order_[i]) == name(order_[i + 1]);
    };
    size_t kept = 0;
    for (size_t i = 0; i < order_.size(); ++i) {
      if (!equals_next(i)) order_[kept++] = order_[i];
    }
    order_.resize(kept);
  }

  DeviceMap run() {
    merge_below({0, order_.size()}, "", 0);
    std::erase_if(map_, [this](const DeviceMapEntry& entry) {
      return is_dropped_[static_cast<size_t>(&entry - map_.data())];
    });
    return std::move(map_);
  }

 private:
  /// Of order_.
  struct Range {
    size_t begin, end;
  };

  std::string_view name(uint32_t entry) const { return map_[entry].module; }

  /// `range`: the entries of `module` and below it. `at`: where the next component of those begins.
  void merge_below(Range range, std::string_view module, size_t at) {
    const Range below{range.begin + (range.begin < range.end && name(order_[range.begin]) == module ? 1 : 0),
                      range.end};
    // No module is meant by what stands before the dot of ".x".
    const bool is_module = at == 0 || !module.empty();
    if (is_module && below.end - below.begin > 1 && is_on_one_device(below)) {
      merge(range, below, std::string(module));
      return;
    }
    for (size_t begin = below.begin; begin < below.end;) {
      const std::string_view first = name(order_[begin]);
      const std::string_view child = first.substr(0, std::min(first.find('.', at), first.size()));
      const auto is_child = [&](uint32_t entry) {
        const std::string_view other = name(entry);
        return other.starts_with(child) && (other.size() == child.size() || other[child.size()] == '.');
      };
      const auto from = order_.begin() + static_cast<std::ptrdiff_t>(begin);
      const auto to = order_.begin() + static_cast<std::ptrdiff_t>(below.end);
      const size_t end = begin + static_cast<size_t>(std::find_if_not(from, to, is_child) - from);
      if (end - begin > 1) merge_below({begin, end}, child, child.size() + 1);
      begin = end;
    }
  }

  bool is_on_one_device(Range range) const {
    for (size_t i = range.begin; i < range.end; ++i) {
      if (map_[order_[i]].device != map_[order_[range.begin]].device) return false;
    }
    return true;
  }

  /// The last entry below the module becomes the module's.
  void merge(Range range, Range below, std::string module) {
    uint32_t last = 0;
    for (size_t i = range.begin; i < range.end; ++i) is_dropped_[order_[i]] = true;
    for (size_t i = below.begin; i < below.end; ++i) last = std::max(last, order_[i]);
    is_dropped_[last] = false;
    map_[last].module = std::move(module);
  }

  DeviceMap map_;
  std::vector<bool> is_dropped_;  ///< by entry
  std::vector<uint32_t> order_;   ///< entries by name
};

}  // namespace

DeviceMap clean_device_map(DeviceMap map) { return Cleaner(std::move(map)).run(); }

DeviceMapLookup::DeviceMapLookup(const DeviceMap& map) : map_(map), by_name_(map.size()) {
  // Of entries with one name the last counts.
  for (size_t i = map.size(); i-- > 0;) {
    by_name_.insert(static_cast<uint32_t>(i), NameOf{map});
    longest_ = std::max(longest_, map[i].module.size());
  }
}

const Device* DeviceMapLookup::find(std::string_view name) const {
  const auto up_to = [&](size_t dot) { return name.substr(0, dot == std::string_view::npos ? 0 : dot); };
  if (name.size() > longest_) name = up_to(name.rfind('.', longest_));
  for (;; name = up_to(name.rfind('.'))) {
    if (const uint32_t i = by_name_.find(name, NameOf{map_}); i != NameTable::kNone) return &map_[i].device;
    if (name.empty()) return nullptr;
  }
}

std::vector<std::string> check_device_map(const ModuleTree& tree, const DeviceMap& map) {
  // Not for a map of everything at once, as they take long for many modules.
  std::optional<ModuleIndex> modules;
  std::optional<TensorIndex> tensors;
  const auto is_known = [&](const std::string& name) {
    if (!modules) modules.emplace(tree);
    if (modules->find(name) != kNoId) return true;
    if (!tensors) tensors.emplace(tree);
    return tensors->find(name) != kNoId;
  };
  const DeviceMapLookup lookup(map);
  std::vector<std::string> warnings;

  std::vector<std::string> strangers;
  for (const DeviceMapEntry& entry : map) {
    if (!entry.module.empty() && !is_known(entry.module)) strangers.push_back(entry.module);
  }
  if (!strangers.empty()) {
    warnings.push_back(
        fmt::format("the device map names modules that the model does not have: {}", join(strangers, ", ")));
  }

  std::vector<std::string> uncovered;
  NameMaker make_name(tree.names);
  for (const ShellTensor& t : tree.tensors) {
    if (!t.persistent) continue;
    if (const std::string_view name = make_name(t.module, t.name); lookup.find(name) == nullptr)
      uncovered.emplace_back(name);
  }
  if (!uncovered.empty()) {
    Error error(ErrorCode::device_map_incomplete,
                fmt::format("the device map gives no device for {}", join(uncovered, ", ")));
    error.with_tensor(uncovered.front());
    throw error.with_hint("Add an entry for each, for a module above it, or '' for everything else.");
  }

  for (const std::vector<std::string>& group : tree.tied_groups()) {
    const Device first = *lookup.find(group.front());
    const bool together =
        std::ranges::all_of(group, [&](const std::string& name) { return *lookup.find(name) == first; });
    if (!together) {
      std::vector<std::string> places;
      for (const std::string& name : group)
        places.push_back(fmt::format("{} on {}", name, to_string(*lookup.find(name))));
      warnings.push_back(fmt::format("tied parameters are on different devices: {}", join(places, ", ")));
    }
  }
  return warnings;
}

}  // namespace hfload
