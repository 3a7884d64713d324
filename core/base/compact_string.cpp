#include "core/base/compact_string.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <new>
#include <stdexcept>

namespace hfload {
namespace {

constexpr size_t kSmallestBlock = 1024, kLargestBlock = 64 << 10;
/// What the pool holds of a block while it is open, so that a text costs no atomic operation.
constexpr uint64_t kHeldByPool = uint64_t{1} << 40;

/// At the start of a block: how many texts in it are alive.
using TextCount = std::atomic<uint64_t>;

TextCount& text_count(char* block) { return *std::launder(reinterpret_cast<TextCount*>(block)); }

void drop_texts(char* block, uint64_t texts) noexcept {
  if (text_count(block).fetch_sub(texts, std::memory_order_acq_rel) == texts) ::operator delete(block);
}

}  // namespace

char* CompactString::allocate(std::string_view text) {
  const Head head{0, static_cast<uint32_t>(text.size())};
  if (head.bytes != text.size()) throw std::length_error("a text of more than 4 GiB");
  char* const data = static_cast<char*>(::operator new(sizeof(head) + text.size()));
  std::memcpy(data, &head, sizeof(head));
  std::memcpy(data + sizeof(head), text.data(), text.size());
  return data;
}

char* CompactString::copy() const {
  const uint32_t in_block = head().in_block;
  if (in_block == 0) return allocate(view());
  text_count(data_ - in_block).fetch_add(1, std::memory_order_relaxed);
  return data_;
}

void CompactString::release() noexcept {
  const uint32_t in_block = head().in_block;
  if (in_block == 0) {
    ::operator delete(data_);
  } else {
    drop_texts(data_ - in_block, 1);
  }
}

bool CompactStringPool::open_block(size_t needed) {
  if (needed > kLargestBlock / 8) return false;
  const size_t bytes = std::max(std::clamp(2 * block_bytes_, kSmallestBlock, kLargestBlock),
                                std::bit_ceil(sizeof(TextCount) + needed));
  close_block();
  block_ = static_cast<char*>(::operator new(bytes));
  new (block_) TextCount(kHeldByPool);
  block_bytes_ = bytes;
  used_ = sizeof(TextCount);
  return true;
}

void CompactStringPool::close_block() noexcept {
  if (block_ != nullptr) drop_texts(block_, kHeldByPool - texts_);
  block_ = nullptr;
  block_bytes_ = used_ = 0;
  texts_ = 0;
}

}  // namespace hfload
