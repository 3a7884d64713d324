#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/name_hash.h"

namespace hfload {

/// Numbers by their names: a hash table that keeps no names, in 6 to 12 bytes a number. `name_of(number)`
/// gives the name, the same one at each call: a text, or what is compared with one and makes a std::string.
class NameTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  /// With room for `expected` numbers; it grows beyond.
  explicit NameTable(size_t expected = 0) : slots_(std::bit_ceil(expected + expected / 2 + 2), kNone) {}

  /// Of numbers with one name the first stays.
  template <class NameOf>
  void insert(uint32_t number, const NameOf& name_of) {
    insert(number, text_of(name_of(number)), name_of);
  }
  /// `name` is that of `number`.
  template <class NameOf>
  void insert(uint32_t number, std::string_view name, const NameOf& name_of) {
    if (3 * (count_ + 1) > 2 * slots_.size()) grow(name_of);
    uint32_t& slot = slots_[slot_of(name, name_of)];
    if (slot != kNone) return;
    slot = number;
    ++count_;
  }
  /// kNone where there is none of that name.
  template <class NameOf>
  uint32_t find(std::string_view name, const NameOf& name_of) const {
    return slots_[slot_of(name, name_of)];
  }

 private:
  template <class Name>
  static auto text_of(const Name& name) {
    if constexpr (std::convertible_to<const Name&, std::string_view>) {
      return std::string_view(name);
    } else {
      return std::string(name);
    }
  }

  template <class NameOf>
  size_t slot_of(std::string_view name, const NameOf& name_of) const {
    const size_t mask = slots_.size() - 1;
    size_t at = hash_of_(name) & mask;
    while (slots_[at] != kNone && !(name_of(slots_[at]) == name)) at = (at + 1) & mask;
    return at;
  }

  template <class NameOf>
  void grow(const NameOf& name_of) {
    std::vector<uint32_t> before(2 * slots_.size(), kNone);
    before.swap(slots_);
    for (const uint32_t number : before) {
      if (number != kNone) slots_[slot_of(text_of(name_of(number)), name_of)] = number;
    }
  }

  NameHash hash_of_;
  std::vector<uint32_t> slots_;  ///< a power of two of them
  size_t count_ = 0;
};

}  // namespace hfload
