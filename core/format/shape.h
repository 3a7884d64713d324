#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

namespace hfload {

/// The dimensions of a tensor, outermost first: a vector that does not grow, and that has none of its memory
/// elsewhere where there are one or two.
class Shape {
 public:
  Shape() = default;
  Shape(std::span<const uint64_t> dimensions) : size_(dimensions.size()) {  // NOLINT: converts as a vector
    if (is_many()) {
      auto* const many = new uint64_t[size_];
      std::ranges::copy(dimensions, many);
      words_[0] = std::bit_cast<uint64_t>(many);
      return;
    }
    if (size_ > 0) words_[0] = dimensions[0];
    if (size_ > 1) words_[1] = dimensions[1];
  }
  Shape(const std::vector<uint64_t>& dimensions) : Shape(std::span(dimensions)) {}  // NOLINT
  Shape(std::initializer_list<uint64_t> dimensions)
      : Shape(std::span(dimensions.begin(), dimensions.size())) {}
  Shape(const Shape& other) : Shape(std::span(other.data(), other.size())) {}
  Shape(Shape&& other) noexcept : size_(std::exchange(other.size_, 0)), words_(other.words_) {}
  Shape& operator=(const Shape& other) { return *this = Shape(other); }
  Shape& operator=(Shape&& other) noexcept {
    std::swap(size_, other.size_);
    std::swap(words_, other.words_);
    return *this;
  }
  ~Shape() {
    if (is_many()) delete[] many();
  }

  const uint64_t* data() const { return is_many() ? many() : words_.data(); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const uint64_t* begin() const { return data(); }
  const uint64_t* end() const { return data() + size_; }
  uint64_t operator[](size_t i) const { return data()[i]; }
  operator std::vector<uint64_t>() const { return {begin(), end()}; }  // NOLINT

  bool operator==(const Shape& other) const { return std::ranges::equal(*this, other); }
  bool operator==(const std::vector<uint64_t>& other) const { return std::ranges::equal(*this, other); }

 private:
  bool is_many() const { return size_ > words_.size(); }
  uint64_t* many() const { return std::bit_cast<uint64_t*>(words_[0]); }

  size_t size_ = 0;
  std::array<uint64_t, 2>
      words_{};  ///< the dimensions; where there are more, the first is the address of them
};

}  // namespace hfload
