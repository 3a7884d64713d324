#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace hfload {

/// A growing array in blocks: it takes the memory of what it holds, where a vector that grows takes twice as
/// much for a while.
template <class T>
class PickleBlocks {
 public:
  size_t size() const { return size_; }
  T& operator[](size_t index) { return blocks_[index / kPerBlock][index % kPerBlock]; }
  const T& operator[](size_t index) const { return blocks_[index / kPerBlock][index % kPerBlock]; }

  void push_back(const T& value) {
    if (size_ == blocks_.size() * kPerBlock)
      blocks_.push_back(std::make_unique_for_overwrite<T[]>(kPerBlock));
    (*this)[size_++] = value;
  }

 private:
  static constexpr size_t kPerBlock = 2048;
  std::vector<std::unique_ptr<T[]>> blocks_;
  size_t size_ = 0;
};

}  // namespace hfload
