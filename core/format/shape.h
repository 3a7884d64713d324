#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

namespace hfload {

/// The dimensions of a tensor, outermost first: a vector that does not change. 8 bytes, as there may be 10^5;
/// copies share what is behind them.
class Shape {
 public:
  Shape() = default;
  Shape(std::span<const uint64_t> dimensions)  // NOLINT: converts as a vector
      : block_(dimensions.empty() ? nullptr : allocate(dimensions)) {}
  Shape(const std::vector<uint64_t>& dimensions) : Shape(std::span(dimensions)) {}  // NOLINT
  Shape(std::initializer_list<uint64_t> dimensions)
      : Shape(std::span(dimensions.begin(), dimensions.size())) {}
  Shape(const Shape& other) noexcept : block_(other.block_) {
    if (block_ != nullptr) share();
  }
  Shape(Shape&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Shape& operator=(Shape other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Shape() {
    if (block_ != nullptr) release();
  }

  const uint64_t* data() const { return block_ == nullptr ? nullptr : block_ + kHeadWords; }
  size_t size() const { return block_ == nullptr ? 0 : block_[kSizeWord]; }
  bool empty() const { return block_ == nullptr; }
  const uint64_t* begin() const { return data(); }
  const uint64_t* end() const { return data() + size(); }
  uint64_t operator[](size_t i) const { return data()[i]; }
  operator std::vector<uint64_t>() const { return {begin(), end()}; }  // NOLINT

  bool operator==(const Shape& other) const {
    return block_ == other.block_ || std::ranges::equal(*this, other);
  }
  bool operator==(const std::vector<uint64_t>& other) const { return std::ranges::equal(*this, other); }

 private:
  /// Before the dimensions stand how many shapes share them, and how many there are.
  static constexpr size_t kOwnersWord = 0, kSizeWord = 1, kHeadWords = 2;

  static uint64_t* allocate(std::span<const uint64_t> dimensions);
  void share() noexcept;
  void release() noexcept;

  uint64_t* block_ = nullptr;  ///< null where there is no dimension
};

/// Makes shapes of which many are equal: those share what is behind them where one was among the last.
class ShapeMaker {
 public:
  Shape operator()(std::span<const uint64_t> dimensions);

 private:
  std::array<Shape, 64> last_;  ///< by a hash of the dimensions
};

}  // namespace hfload
