#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/base/name_hash.h"

namespace hfload {

/// Finds names by their position in a list that the caller keeps, in 12 to 24 bytes a name. A slot tells most
/// names apart without a look at the list. (NameTable takes half as much.)
class NameIndex {
 public:
  NameIndex() = default;
  /// For at most `names` names, which are fewer than 2^32 - 1.
  explicit NameIndex(size_t names) : slots_(std::bit_ceil(names + names / 2 + 1)) {}

  /// Adds the name at `position`; false when an equal one is there, which stays. `name_at(position)` gives
  /// the names that were added before.
  template <class NameAt>
  bool insert(std::string_view name, uint32_t position, NameAt&& name_at) {
    const uint64_t hash = hash_of_(name);
    size_t slot = first_slot(hash);
    for (; slots_[slot] != 0; slot = (slot + 1) & mask()) {
      if (is_tagged(slots_[slot], hash) && name_at(position_in(slots_[slot])) == name) return false;
    }
    slots_[slot] = (hash & kTag) | (uint64_t{position} + 1);
    return true;
  }

  template <class NameAt>
  std::optional<uint32_t> find(std::string_view name, NameAt&& name_at) const {
    if (slots_.empty()) return std::nullopt;
    const uint64_t hash = hash_of_(name);
    for (size_t slot = first_slot(hash); slots_[slot] != 0; slot = (slot + 1) & mask()) {
      const uint32_t position = position_in(slots_[slot]);
      if (is_tagged(slots_[slot], hash) && name_at(position) == name) return position;
    }
    return std::nullopt;
  }

 private:
  /// A slot holds the upper half of the hash and the position + 1; 0 where it is free.
  static constexpr uint64_t kTag = ~uint64_t{UINT32_MAX};
  static bool is_tagged(uint64_t slot, uint64_t hash) { return ((slot ^ hash) & kTag) == 0; }
  static uint32_t position_in(uint64_t slot) { return static_cast<uint32_t>(slot) - 1; }
  size_t first_slot(uint64_t hash) const { return static_cast<size_t>(hash) & mask(); }

  size_t mask() const { return slots_.size() - 1; }

  NameHash hash_of_;
  std::vector<uint64_t> slots_;  ///< a power of two, at most two thirds of them in use
};

}  // namespace hfload
