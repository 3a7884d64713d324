#include "core/format/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "core/base/error.h"

namespace hfload {

std::string_view describe(PickleKind kind) {
  switch (kind) {
    case PickleKind::none:
      return "None";
    case PickleKind::boolean:
      return "a boolean";
    case PickleKind::integer:
    case PickleKind::big_integer:
      return "an integer";
    case PickleKind::floating:
      return "a floating-point number";
    case PickleKind::string:
      return "a string";
    case PickleKind::bytes:
      return "bytes";
    case PickleKind::long_text:
      return "a long string";
    case PickleKind::list:
      return "a list";
    case PickleKind::tuple:
      return "a tuple";
    case PickleKind::dict:
      return "a dict";
    case PickleKind::set:
      return "a set";
    case PickleKind::global:
      return "a name";
    case PickleKind::persistent:
      return "a storage";
    case PickleKind::object:
      return "an object";
  }
  return "a value";
}

double PickleTree::floating(PickleId id) const { return std::bit_cast<double>(values_[id].payload); }

std::string_view PickleTree::text(PickleId id) const {
  const uint64_t payload = values_[id].payload;
  return std::string_view(text_).substr(payload >> 24, payload & 0xFFFFFF);
}

std::vector<PickleId> PickleTree::members(PickleId id, uint64_t at_most) const {
  std::vector<PickleId> found;
  if (!is_container(kind(id))) return found;
  for (uint32_t m = first(values_[id]); m != kEnd && found.size() < at_most; m = members_[m].next)
    found.push_back(members_[m].value);
  return found;
}

void PickleTree::check_nesting() const {
  struct Open {
    PickleId id;
    uint32_t next;     ///< of its members, the one to visit
    uint16_t deepest;  ///< of its visited members
  };
  constexpr uint16_t kNew = 0, kIsOpen = UINT16_MAX;
  const auto fault = [&](std::string message, PickleId id) {
    return Error(ErrorCode::invalid_pickle, std::move(message)).with_offset(offset(id));
  };
  std::vector<uint16_t> depth(values_.size(), kNew);
  std::vector<float> expanded(values_.size(), 1);
  std::vector<Open> path;
  const auto enter = [&](PickleId id) {
    const bool container = is_container(values_[id].kind);
    depth[id] = container ? kIsOpen : 1;
    if (!container) return;
    if (path.size() >= kMaxPickleDepth) throw fault("the pickle nests deeper than 1000 levels", id);
    path.push_back({id, first(values_[id]), 0});
  };
  enter(root_);
  while (!path.empty()) {
    Open& open = path.back();
    if (open.next == kEnd) {
      depth[open.id] = static_cast<uint16_t>(open.deepest + 1);
      if (depth[open.id] > kMaxPickleDepth) throw fault("the pickle nests deeper than 1000 levels", open.id);
      if (expanded[open.id] > static_cast<float>(kMaxPickleExpandedValues))
        throw fault("the pickle repeats its values until there are more than 100,000,000", open.id);
      path.pop_back();
      continue;
    }
    const PickleId member = members_[open.next].value;
    if (depth[member] == kIsOpen)
      throw fault(fmt::format("the pickle has {} that contains itself", describe(kind(member))), member);
    if (depth[member] == kNew) {
      enter(member);
      if (depth[member] == kIsOpen) continue;
    }
    open.next = members_[open.next].next;
    open.deepest = std::max(open.deepest, depth[member]);
    expanded[open.id] += expanded[member];
  }
}

}  // namespace hfload
