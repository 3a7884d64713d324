#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace hfload {

/// A text that does not change, for lists of 100,000 names: one pointer, to its length and its bytes. A
/// std::string takes 24 bytes more.
class CompactString {
 public:
  CompactString() = default;
  CompactString(std::string_view text)
      : data_(text.empty() ? nullptr : allocate(text)) {}                            // NOLINT: converts
  CompactString(const std::string& text) : CompactString(std::string_view(text)) {}  // NOLINT
  CompactString(const char* text) : CompactString(std::string_view(text)) {}         // NOLINT
  CompactString(const CompactString& other) : data_(other.data_ == nullptr ? nullptr : other.copy()) {}
  CompactString(CompactString&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  CompactString& operator=(const CompactString& other) { return *this = CompactString(other); }
  CompactString& operator=(CompactString&& other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~CompactString() {
    if (data_ != nullptr) release();
  }

  std::string_view view() const {
    if (data_ == nullptr) return {};
    return {data_ + sizeof(Head), head().bytes};
  }
  std::string str() const { return std::string(view()); }
  operator std::string_view() const { return view(); }  // NOLINT

  template <std::convertible_to<std::string_view> Text>
  bool operator==(const Text& other) const {
    return view() == std::string_view(other);
  }

 private:
  friend class CompactStringPool;
  /// Stands before the bytes of a text.
  struct Head {
    uint32_t in_block;  ///< bytes from the start of the block that it shares; 0: it shares none
    uint32_t bytes;
  };

  static char* allocate(std::string_view text);
  Head head() const {
    Head head;
    std::memcpy(&head, data_, sizeof(head));
    return head;
  }
  char* copy() const;
  void release() noexcept;

  char* data_ = nullptr;
};

/// Makes many texts with few allocations: they lie one after the other in blocks, each of which lives as long
/// as one of its texts.
class CompactStringPool {
 public:
  CompactStringPool() = default;
  CompactStringPool(const CompactStringPool&) = delete;
  CompactStringPool& operator=(const CompactStringPool&) = delete;
  ~CompactStringPool() { close_block(); }

  CompactString add(std::string_view text) {
    CompactString result;
    if (text.empty()) return result;
    const size_t needed = sizeof(CompactString::Head) + text.size();
    if (needed > block_bytes_ - used_ && !open_block(needed)) return CompactString(text);
    result.data_ = block_ + used_;
    const CompactString::Head head{static_cast<uint32_t>(used_), static_cast<uint32_t>(text.size())};
    std::memcpy(result.data_, &head, sizeof(head));
    std::memcpy(result.data_ + sizeof(head), text.data(), text.size());
    used_ += needed;
    ++texts_;
    return result;
  }

 private:
  /// False for a text that is better off alone.
  bool open_block(size_t needed);
  void close_block() noexcept;

  char* block_ = nullptr;
  size_t block_bytes_ = 0, used_ = 0;
  uint64_t texts_ = 0;  ///< of the open block
};

}  // namespace hfload
