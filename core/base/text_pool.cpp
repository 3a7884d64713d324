#include "core/base/text_pool.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace hfload {
namespace {

uint32_t text_bytes(std::string_view text) {
  const auto bytes = static_cast<uint32_t>(text.size());
  if (bytes != text.size()) throw std::length_error("a text of more than 4 GiB");
  return bytes;
}

}  // namespace

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

std::string_view TextPool::join(std::string_view prefix, std::string_view component) {
  if (prefix.empty()) return add(component);
  const size_t more = 1 + component.size();
  const bool goes_on = prefix.data() + prefix.size() == at_ && static_cast<size_t>(end_ - at_) >= more;
  char* rest = nullptr;
  const char* begin = prefix.data();
  if (goes_on) {
    rest = take(more);
  } else {
    char* const copy = take(prefix.size() + more);
    std::memcpy(copy, prefix.data(), prefix.size());
    begin = copy;
    rest = copy + prefix.size();
  }
  *rest = '.';
  std::copy(component.begin(), component.end(), rest + 1);
  return {begin, prefix.size() + more};
}

PooledText::PooledText(std::string_view text) : bytes_(text_bytes(text)) {
  if (text.empty()) return;
  auto* const own = new char[text.size()];
  std::memcpy(own, text.data(), text.size());
  data_ = own;
  is_own_ = true;
}

PooledText& PooledText::operator=(const PooledText& other) {
  PooledText copy = other.is_own_ ? PooledText(other.view()) : of_pool(other.view());
  swap(copy);
  return *this;
}

PooledText PooledText::of_pool(std::string_view text) {
  PooledText pooled;
  pooled.data_ = text.data();
  pooled.bytes_ = text_bytes(text);
  return pooled;
}

}  // namespace hfload
