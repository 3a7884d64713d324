#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <utility>

namespace hfload {

/// Numbers that are indices, in the order in which they were added, for the many lists that have none or one:
/// 8 bytes, and more on the heap from the second number on. Reads as a vector does.
class IdList {
 public:
  using const_iterator = const uint32_t*;

  IdList() = default;
  IdList(std::initializer_list<uint32_t> ids) : IdList() {
    for (const uint32_t id : ids) push_back(id);
  }
  IdList(const IdList& other) : IdList() {
    for (const uint32_t id : other) push_back(id);
  }
  IdList(IdList&& other) noexcept : words_(std::exchange(other.words_, {})) {}
  IdList& operator=(IdList other) noexcept {
    std::swap(words_, other.words_);
    return *this;
  }
  ~IdList() { delete[] block(); }

  size_t size() const {
    if (is_one()) return 1;
    const uint32_t* const ids = block();
    return ids == nullptr ? 0 : ids[0];
  }
  bool empty() const { return size() == 0; }
  const uint32_t* begin() const { return is_one() ? words_.data() : after_size(block()); }
  const uint32_t* end() const { return begin() + size(); }
  uint32_t* begin() { return is_one() ? words_.data() : after_size(block()); }
  uint32_t* end() { return begin() + size(); }
  auto rbegin() const { return std::make_reverse_iterator(end()); }
  auto rend() const { return std::make_reverse_iterator(begin()); }
  uint32_t operator[](size_t i) const { return begin()[i]; }

  void push_back(uint32_t id) {
    const size_t count = size();
    if (count == 0) {
      set_one(id);
      return;
    }
    // A block has room for the next power of two.
    if (std::has_single_bit(count)) grow(2 * count);
    uint32_t* const ids = block();
    ids[1 + count] = id;
    ids[0] = static_cast<uint32_t>(count + 1);
  }

  /// Takes the number off the list, where it stands once at most.
  void remove(uint32_t id) {
    IdList rest;
    for (const uint32_t other : *this) {
      if (other != id) rest.push_back(other);
    }
    *this = std::move(rest);
  }

 private:
  /// The upper half of the words, which no address of a block has.
  static constexpr uint32_t kOne = UINT32_MAX;

  bool is_one() const { return words_[1] == kOne; }
  void set_one(uint32_t id) { words_ = {id, kOne}; }
  /// The count and then the numbers, where they are on the heap; else null.
  uint32_t* block() const {
    static_assert(sizeof(uint32_t*) == sizeof(words_) && std::endian::native == std::endian::little);
    if (is_one()) return nullptr;
    uint32_t* ids = nullptr;
    std::memcpy(&ids, words_.data(), sizeof(ids));
    return ids;
  }
  static uint32_t* after_size(uint32_t* ids) { return ids == nullptr ? nullptr : ids + 1; }

  void grow(size_t capacity) {
    auto* const grown = new uint32_t[1 + capacity];
    grown[0] = static_cast<uint32_t>(size());
    std::ranges::copy(*this, grown + 1);
    delete[] block();
    std::memcpy(words_.data(), &grown, sizeof(grown));
  }

  alignas(8) std::array<uint32_t, 2> words_{};
};

}  // namespace hfload
