#include "core/base/text_pool.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace hfload {

char* TextPool::take(size_t bytes) {
  if (static_cast<size_t>(end_ - at_) < bytes) {
    constexpr size_t kMostBlockBytes = size_t{256} << 10;
    block_bytes_ = std::min(2 * block_bytes_, kMostBlockBytes);
    const size_t block = std::max(bytes, block_bytes_);
    at_ = blocks_.emplace_back(std::make_unique_for_overwrite<char[]>(block)).get();
    end_ = at_ + block;
  }
  return std::exchange(at_, at_ + bytes);
}

std::string_view TextPool::add(std::string_view text) {
  if (text.empty()) return {};
  char* const begin = take(text.size());
  std::memcpy(begin, text.data(), text.size());
  return {begin, text.size()};
}

std::string_view TextPool::add_once(std::string_view text) {
  if (text.empty()) return {};
  auto& last = last_[hash_(text) % last_.size()];
  auto at = std::find(last.begin(), last.end(), text);
  if (at == last.end()) *--at = add(text);
  std::rotate(last.begin(), at, at + 1);
  return last.front();
}

PooledText::PooledText(const char* address, uint64_t flags_and_length) {
  const auto bits = std::bit_cast<uint64_t>(address);
  // Linux gives such an address only to a process that asks for one.
  if ((bits & ~kAddressMask) != 0) throw std::length_error("an address of more than 48 bits");
  word_ = flags_and_length | bits;
}

PooledText PooledText::of_own(std::string_view text) {
  if (text.empty()) return {};
  if (text.size() >= kLong) return of_long(text, true);
  auto own = std::make_unique_for_overwrite<char[]>(text.size());
  std::memcpy(own.get(), text.data(), text.size());
  PooledText result(own.get(), kOwnsMemory | uint64_t{text.size()} << kAddressBits);
  static_cast<void>(own.release());
  return result;
}

PooledText PooledText::of_pool(std::string_view text) {
  if (text.empty()) return {};
  if (text.size() >= kLong) return of_long(text, false);
  return {text.data(), uint64_t{text.size()} << kAddressBits};
}

PooledText PooledText::of_long(std::string_view text, bool is_own) {
  auto memory = std::make_unique_for_overwrite<char[]>(sizeof(text) + (is_own ? text.size() : 0));
  if (is_own) {
    std::memcpy(memory.get() + sizeof(text), text.data(), text.size());
    text = {memory.get() + sizeof(text), text.size()};
  }
  std::memcpy(memory.get(), &text, sizeof(text));
  PooledText result(memory.get(), kOwnsMemory | kLong << kAddressBits);
  static_cast<void>(memory.release());
  return result;
}

bool PooledText::has_own_text() const {
  if (!owns_memory()) return false;
  return length() != kLong || long_view().data() == address() + sizeof(std::string_view);
}

std::string_view PooledText::long_view() const {
  std::string_view view;
  std::memcpy(&view, address(), sizeof(view));
  return view;
}

}  // namespace hfload
