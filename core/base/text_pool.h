#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hfload {

/// Texts that stay where they are for as long as the pool lives. Dotted names that begin alike share their
/// bytes where one is made out of the other right after it.
class TextPool {
 public:
  TextPool() = default;
  TextPool(const TextPool&) = delete;
  TextPool& operator=(const TextPool&) = delete;

  std::string_view add(std::string_view text);
  /// "prefix.component"; "component" where the prefix is empty.
  std::string_view join(std::string_view prefix, std::string_view component);

 private:
  char* take(size_t bytes);

  std::vector<std::unique_ptr<char[]>> blocks_;
  char* at_ = nullptr;   ///< one past the text that was added last
  char* end_ = nullptr;  ///< of the last block
  size_t block_bytes_ = size_t{2} << 10;
};

/// A text that does not change: one of a pool, which must then outlive it and its copies, or one of its own.
class PooledText {
 public:
  PooledText() = default;
  PooledText(std::string_view text);  // NOLINT: converts as std::string
  PooledText(const std::string& text) : PooledText(std::string_view(text)) {}  // NOLINT
  PooledText(const char* text) : PooledText(std::string_view(text)) {}         // NOLINT
  PooledText(const PooledText& other) { *this = other; }
  PooledText(PooledText&& other) noexcept { swap(other); }
  PooledText& operator=(const PooledText& other);
  PooledText& operator=(PooledText&& other) noexcept {
    swap(other);
    return *this;
  }
  ~PooledText() {
    if (is_own_) delete[] data_;
  }

  /// `text` is of a pool.
  static PooledText of_pool(std::string_view text);

  std::string_view view() const { return {data_, bytes_}; }
  std::string str() const { return std::string(view()); }
  bool empty() const { return bytes_ == 0; }
  operator std::string_view() const { return view(); }  // NOLINT
  operator std::string() const { return str(); }        // NOLINT

  template <std::convertible_to<std::string_view> Text>
  bool operator==(const Text& other) const {
    return view() == std::string_view(other);
  }

 private:
  void swap(PooledText& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(is_own_, other.is_own_);
  }

  const char* data_ = nullptr;
  uint32_t bytes_ = 0;
  bool is_own_ = false;
};

}  // namespace hfload
