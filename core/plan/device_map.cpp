#include "core/plan/device_map.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <optional>

#include "core/base/error.h"

namespace hfload {
namespace {

/// A dotted component of the map's keys.
struct Node {
  std::map<std::string, std::unique_ptr<Node>, std::less<>> children;
  int64_t own = -1;         ///< entry of exactly this name, or -1
  uint64_t below = 0;       ///< entries strictly below
  int64_t last_below = -1;  ///< the last of them
  bool uniform = true;      ///< all below are on one device
};

void insert(Node& root, const std::string& name, int64_t entry) {
  Node* node = &root;
  for (size_t begin = 0; !name.empty() && begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    auto& child = node->children[name.substr(begin, end - begin)];
    if (!child) child = std::make_unique<Node>();
    node = child.get();
    begin = end + 1;
  }
  node->own = entry;
}

void summarise(Node& node, const DeviceMap& map) {
  const auto add = [&](int64_t entry) {
    if (entry < 0) return;
    if (node.last_below >= 0 &&
        map[static_cast<size_t>(entry)].device != map[static_cast<size_t>(node.last_below)].device) {
      node.uniform = false;
    }
    node.last_below = std::max(node.last_below, entry);
  };
  for (auto& [name, child] : node.children) {
    summarise(*child, map);
    node.below += child->below + (child->own >= 0 ? 1 : 0);
    node.uniform = node.uniform && child->uniform;
    add(child->own);
    add(child->last_below);
  }
}

/// Renames the last entry below every uniform node to the node's name and marks the others as dropped.
void collapse(const Node& node, const std::string& name, DeviceMap& map, std::vector<bool>& dropped) {
  if (node.below > 1 && node.uniform) {
    const auto drop = [&](const Node& n, const auto& self) -> void {
      if (n.own >= 0) dropped[static_cast<size_t>(n.own)] = true;
      for (const auto& [child_name, child] : n.children) self(*child, self);
    };
    drop(node, drop);
    dropped[static_cast<size_t>(node.last_below)] = false;
    map[static_cast<size_t>(node.last_below)].module = name;
    return;
  }
  for (const auto& [child_name, child] : node.children) {
    collapse(*child, name.empty() ? child_name : fmt::format("{}.{}", name, child_name), map, dropped);
  }
}

}  // namespace

DeviceMap clean_device_map(DeviceMap map) {
  Node root;
  for (size_t i = 0; i < map.size(); ++i) insert(root, map[i].module, static_cast<int64_t>(i));
  summarise(root, map);
  std::vector<bool> dropped(map.size());
  collapse(root, "", map, dropped);
  DeviceMap cleaned;
  for (size_t i = 0; i < map.size(); ++i) {
    if (!dropped[i]) cleaned.push_back(std::move(map[i]));
  }
  return cleaned;
}

DeviceMapLookup::DeviceMapLookup(const DeviceMap& map) {
  for (const DeviceMapEntry& entry : map) {
    entries_.insert_or_assign(entry.module, entry.device);
    longest_ = std::max(longest_, entry.module.size());
  }
}

const Device* DeviceMapLookup::find(std::string_view name) const {
  const auto parent = [](std::string_view module) {
    const size_t dot = module.rfind('.');
    return module.substr(0, dot == std::string_view::npos ? 0 : dot);
  };
  while (name.size() > longest_) name = parent(name);
  for (std::string prefix(name);; prefix.resize(parent(prefix).size())) {
    if (const auto it = entries_.find(prefix); it != entries_.end()) return &it->second;
    if (prefix.empty()) return nullptr;
  }
}

std::vector<std::string> check_device_map(const ModuleTree& tree, const DeviceMap& map) {
  std::optional<ModuleIndex> index;  // not for a map of everything at once, as it takes long for many modules
  const auto is_known = [&](const std::string& name) {
    if (!index) index.emplace(tree);
    return index->module(name) != kNoId || index->tensor(name) != kNoId;
  };
  const DeviceMapLookup lookup(map);
  std::vector<std::string> warnings;

  std::vector<std::string> strangers;
  for (const DeviceMapEntry& entry : map) {
    if (!entry.module.empty() && !is_known(entry.module)) strangers.push_back(entry.module);
  }
  if (!strangers.empty()) {
    warnings.push_back(fmt::format("the device map names modules that the model does not have: {}",
                                   fmt::join(strangers, ", ")));
  }

  std::vector<std::string> uncovered;
  for (const ShellTensor& t : tree.tensors) {
    if (t.persistent && lookup.find(t.name) == nullptr) uncovered.push_back(t.name);
  }
  if (!uncovered.empty()) {
    Error error(ErrorCode::device_map_incomplete,
                fmt::format("the device map gives no device for {}", fmt::join(uncovered, ", ")));
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
      warnings.push_back(
          fmt::format("tied parameters are on different devices: {}", fmt::join(places, ", ")));
    }
  }
  return warnings;
}

}  // namespace hfload
