#include "core/format/pickle.h"

#include <fmt/core.h>

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

PickleTree::PickleTree() {
  for (const PickleKind kind :
       {PickleKind::none, PickleKind::boolean, PickleKind::boolean, PickleKind::tuple})
    values_.push_back({0, 0, static_cast<uint32_t>(kind) << 28});
}

double PickleTree::floating(PickleId id) const { return std::bit_cast<double>(wide_[values_[id].payload()]); }

std::string_view PickleTree::text(PickleId id) const {
  const uint64_t payload = values_[id].payload(), offset = payload >> kSizeBits;
  const char* const block = text_[offset / kTextBlockBytes].get();
  return {block + offset % kTextBlockBytes, payload & ((1U << kSizeBits) - 1)};
}

PickleTree::Cursor PickleTree::members_of(PickleId id) const {
  const PickleKind of = kind(id);
  if (!is_container(of)) return {};
  const uint64_t payload = values_[id].payload();
  const auto first = static_cast<uint32_t>(payload), rest = static_cast<uint32_t>(payload >> 32);
  if (is_fixed(of)) return {first, rest, kNoRun};
  return first == kNoRun ? Cursor{} : run_at(first);
}

std::vector<PickleId> PickleTree::members(PickleId id, uint64_t at_most) const {
  std::vector<PickleId> found;
  for (Cursor cursor = members_of(id); !at_end(cursor) && found.size() < at_most;)
    found.push_back(take(cursor));
  return found;
}

void PickleTree::check_nesting() const {
  struct Open {
    PickleId id;
    Cursor left;       ///< its members that are to be visited
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
    const bool container = is_container(kind(id));
    depth[id] = container ? kIsOpen : 1;
    if (!container) return;
    if (path.size() >= kMaxPickleDepth) throw fault("the pickle nests deeper than 1000 levels", id);
    path.push_back({id, members_of(id), 0});
  };
  if (!is_small(root_)) enter(root_);
  while (!path.empty()) {
    Open& open = path.back();
    if (at_end(open.left)) {
      depth[open.id] = static_cast<uint16_t>(open.deepest + 1);
      if (depth[open.id] > kMaxPickleDepth) throw fault("the pickle nests deeper than 1000 levels", open.id);
      if (expanded[open.id] > static_cast<float>(kMaxPickleExpandedValues))
        throw fault("the pickle repeats its values until there are more than 100,000,000", open.id);
      path.pop_back();
      continue;
    }
    Cursor after = open.left;
    const PickleId member = take(after);
    if (!is_small(member)) {
      if (depth[member] == kIsOpen)
        throw fault(fmt::format("the pickle has {} that contains itself", describe(kind(member))), member);
      if (depth[member] == kNew) {
        enter(member);
        if (depth[member] == kIsOpen) continue;
      }
    }
    open.left = after;
    open.deepest = std::max(open.deepest, is_small(member) ? uint16_t{1} : depth[member]);
    expanded[open.id] += is_small(member) ? 1.0F : expanded[member];
  }
}

}  // namespace hfload
