#include "core/format/shape.h"

#include <atomic>
#include <memory>

namespace hfload {
namespace {

std::atomic_ref<uint64_t> counter(uint64_t& word) { return std::atomic_ref(word); }

}  // namespace

uint64_t* Shape::allocate(std::span<const uint64_t> dimensions) {
  auto block = std::make_unique_for_overwrite<uint64_t[]>(kHeadWords + dimensions.size());
  block[kOwnersWord] = 1;
  block[kSizeWord] = dimensions.size();
  std::ranges::copy(dimensions, block.get() + kHeadWords);
  return block.release();
}

void Shape::share() noexcept { counter(block_[kOwnersWord]).fetch_add(1, std::memory_order_relaxed); }

void Shape::release() noexcept {
  if (counter(block_[kOwnersWord]).fetch_sub(1, std::memory_order_acq_rel) == 1) delete[] block_;
}

Shape ShapeMaker::operator()(std::span<const uint64_t> dimensions) {
  constexpr uint64_t kMix = 0x9e3779b97f4a7c15;
  uint64_t hash = dimensions.size();
  for (const uint64_t dimension : dimensions) hash = (hash ^ dimension) * kMix;
  Shape& last = last_[(hash * kMix) >> 58U];
  if (!std::ranges::equal(last, dimensions)) last = Shape(dimensions);
  return last;
}

}  // namespace hfload
