#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/name_hash.h"

namespace hfload {

/// Texts that stay where they are for as long as the pool lives.
class TextPool {
 public:
  TextPool() = default;
  TextPool(const TextPool&) = delete;
  TextPool& operator=(const TextPool&) = delete;

  std::string_view add(std::string_view text);
  /// As add, for texts that come again and again: gives one that is there where it was among the last.
  std::string_view add_once(std::string_view text);

 private:
  char* take(size_t bytes);

  std::vector<std::unique_ptr<char[]>> blocks_;
  char* at_ = nullptr;   ///< one past the text that was added last
  char* end_ = nullptr;  ///< of the last block
  size_t block_bytes_ = size_t{2} << 10;
  /// Of add_once, by a hash of the text, the latest first: several that come in turns stay, whatever their
  /// hashes.
  std::array<std::array<std::string_view, 4>, 64> last_{};
  NameHash hash_;
};

/// A text that does not change: one of a pool, which must then outlive it and its copies, or one of its own.
/// 8 bytes, for 10^5 of them: its address, which has 48 bits, and its length. One of 32 KiB and more, which
/// no model has, takes some more.
class PooledText {
 public:
  PooledText() = default;
  PooledText(std::string_view text) : PooledText(of_own(text)) {}              // NOLINT: converts as a string
  PooledText(const std::string& text) : PooledText(std::string_view(text)) {}  // NOLINT
  PooledText(const char* text) : PooledText(std::string_view(text)) {}         // NOLINT
  PooledText(const PooledText& other)
      : PooledText(other.has_own_text() ? of_own(other.view()) : of_pool(other.view())) {}
  PooledText(PooledText&& other) noexcept : word_(std::exchange(other.word_, 0)) {}
  PooledText& operator=(PooledText other) noexcept {
    std::swap(word_, other.word_);
    return *this;
  }
  ~PooledText() {
    if (owns_memory()) delete[] address();
  }

  /// `text` is of a pool.
  static PooledText of_pool(std::string_view text);

  std::string_view view() const {
    const uint64_t bytes = length();
    return bytes == kLong ? long_view() : std::string_view(address(), bytes);
  }
  std::string str() const { return std::string(view()); }
  bool empty() const { return word_ == 0; }
  operator std::string_view() const { return view(); }  // NOLINT
  operator std::string() const { return str(); }        // NOLINT

  template <std::convertible_to<std::string_view> Text>
  bool operator==(const Text& other) const {
    return view() == std::string_view(other);
  }

 private:
  static constexpr unsigned kAddressBits = 48;
  static constexpr uint64_t kAddressMask = (uint64_t{1} << kAddressBits) - 1;
  static constexpr uint64_t kOwnsMemory = uint64_t{1} << 63;
  /// In the place of a length: at the address stands a std::string_view, and behind it the text if it is its
  /// own.
  static constexpr uint64_t kLong = (uint64_t{1} << 15) - 1;

  PooledText(const char* address, uint64_t flags_and_length);
  static PooledText of_own(std::string_view text);
  static PooledText of_long(std::string_view text, bool is_own);

  bool owns_memory() const { return (word_ & kOwnsMemory) != 0; }
  bool has_own_text() const;
  uint64_t length() const { return (word_ & ~kOwnsMemory) >> kAddressBits; }
  char* address() const { return std::bit_cast<char*>(word_ & kAddressMask); }
  std::string_view long_view() const;

  uint64_t word_ = 0;  ///< from the top: whether it owns memory, its length, its address; 0: no text
};

}  // namespace hfload
