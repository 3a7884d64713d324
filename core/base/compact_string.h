#pragma once

#include <concepts>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace hfload {

/// A text that does not change, for lists of 100,000 names: one pointer, to its length and its bytes. A
/// std::string takes 24 bytes more.
class CompactString {
 public:
  CompactString() = default;
  CompactString(std::string_view text) {  // NOLINT: converts as std::string does
    if (text.empty()) return;
    const auto bytes = static_cast<uint32_t>(text.size());
    if (bytes != text.size()) throw std::length_error("a text of more than 4 GiB");
    data_ = std::make_unique_for_overwrite<char[]>(sizeof(bytes) + bytes);
    std::memcpy(data_.get(), &bytes, sizeof(bytes));
    std::memcpy(data_.get() + sizeof(bytes), text.data(), bytes);
  }
  CompactString(const std::string& text) : CompactString(std::string_view(text)) {}  // NOLINT
  CompactString(const char* text) : CompactString(std::string_view(text)) {}         // NOLINT
  CompactString(const CompactString& other) : CompactString(other.view()) {}
  CompactString(CompactString&&) noexcept = default;
  CompactString& operator=(const CompactString& other) { return *this = CompactString(other); }
  CompactString& operator=(CompactString&&) noexcept = default;
  ~CompactString() = default;

  std::string_view view() const {
    if (data_ == nullptr) return {};
    uint32_t bytes = 0;
    std::memcpy(&bytes, data_.get(), sizeof(bytes));
    return {data_.get() + sizeof(bytes), bytes};
  }
  std::string str() const { return std::string(view()); }
  operator std::string_view() const { return view(); }  // NOLINT

  template <std::convertible_to<std::string_view> Text>
  bool operator==(const Text& other) const {
    return view() == std::string_view(other);
  }

 private:
  std::unique_ptr<char[]> data_;
};

}  // namespace hfload
