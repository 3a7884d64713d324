#include "core/format/byte_source.h"

#include <algorithm>
#include <cstring>

#include "core/base/error.h"

namespace hfload {
namespace {

constexpr uint64_t kWindowBytes = 64 << 10;

}  // namespace

void MemorySource::read(uint64_t offset, std::span<std::byte> into) const {
  if (offset > data_.size() || into.size() > data_.size() - offset) {
    throw Error(ErrorCode::changed_during_read, "the bytes end early").with_offset(data_.size());
  }
  if (!into.empty()) std::memcpy(into.data(), data_.data() + offset, into.size());
}

void ByteReader::fill() {
  if (position_ >= end_) throw Error(ErrorCode::internal, "a read beyond a checked range").with_offset(end_);
  window_begin_ = position_;
  window_.resize(std::min(kWindowBytes, remaining()));
  source_.read(position_, window_);
}

uint8_t ByteReader::next() {
  if (position_ - window_begin_ >= window_.size()) fill();
  return std::to_integer<uint8_t>(window_[position_++ - window_begin_]);
}

uint64_t ByteReader::little_endian(unsigned count) {
  uint64_t value = 0;
  for (unsigned i = 0; i < count; ++i) value |= uint64_t{next()} << (8 * i);
  return value;
}

void ByteReader::copy_to(std::span<char> into) {
  while (!into.empty()) {
    if (position_ - window_begin_ >= window_.size()) fill();
    const uint64_t at = position_ - window_begin_;
    const uint64_t piece = std::min<uint64_t>(into.size(), window_.size() - at);
    std::memcpy(into.data(), window_.data() + at, piece);
    position_ += piece;
    into = into.subspan(piece);
  }
}

void ByteReader::append_to(std::string& into, uint64_t count) {
  while (count > 0) {
    if (position_ - window_begin_ >= window_.size()) fill();
    const uint64_t at = position_ - window_begin_;
    const uint64_t piece = std::min<uint64_t>(count, window_.size() - at);
    into.append(reinterpret_cast<const char*>(window_.data() + at), piece);
    position_ += piece;
    count -= piece;
  }
}

}  // namespace hfload
