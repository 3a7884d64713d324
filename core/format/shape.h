#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <vector>

namespace hfload {

/// The dimensions of a tensor, outermost first: a vector that does not grow, and that has none of its memory
/// elsewhere where there are one or two.
class Shape {
 public:
  Shape() = default;
  Shape(std::span<const uint64_t> dimensions) : size_(dimensions.size()) {  // NOLINT: converts as a vector
    if (size_ > few_.size()) {
      many_ = std::make_unique_for_overwrite<uint64_t[]>(size_);
      std::ranges::copy(dimensions, many_.get());
      return;
    }
    if (size_ > 0) few_[0] = dimensions[0];
    if (size_ > 1) few_[1] = dimensions[1];
  }
  Shape(const std::vector<uint64_t>& dimensions) : Shape(std::span(dimensions)) {}  // NOLINT
  Shape(std::initializer_list<uint64_t> dimensions)
      : Shape(std::span(dimensions.begin(), dimensions.size())) {}
  Shape(const Shape& other) : Shape(std::span(other.data(), other.size())) {}
  Shape(Shape&&) noexcept = default;
  Shape& operator=(const Shape& other) { return *this = Shape(other); }
  Shape& operator=(Shape&&) noexcept = default;
  ~Shape() = default;

  const uint64_t* data() const { return many_ ? many_.get() : few_.data(); }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const uint64_t* begin() const { return data(); }
  const uint64_t* end() const { return data() + size_; }
  uint64_t operator[](size_t i) const { return data()[i]; }
  operator std::vector<uint64_t>() const { return {begin(), end()}; }  // NOLINT

  bool operator==(const Shape& other) const { return std::ranges::equal(*this, other); }
  bool operator==(const std::vector<uint64_t>& other) const { return std::ranges::equal(*this, other); }

 private:
  size_t size_ = 0;
  std::array<uint64_t, 2> few_{};
  std::unique_ptr<uint64_t[]> many_;  ///< where there are more
};

}  // namespace hfload
