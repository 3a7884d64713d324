#include "core/format/unpacked_source.h"

#include <algorithm>
#include <cstring>

#include "core/base/crc32.h"

namespace hfload {
namespace {

constexpr size_t kPieceBytes = 64 << 10, kTailBytes = 1 << 20;

Error gone_back_too_often() {
  return Error(ErrorCode::unsupported_format,
               "the compressed file would have to be unpacked too often to be looked into")
      .with_hint("Unpack it, and scan what comes out.");
}

}  // namespace

UnpackedSource::UnpackedSource(const ByteSource& source, uint64_t begin, uint64_t end, Packing packing,
                               UnpackBudget& budget)
    : source_(source), begin_(begin), end_(end), packing_(packing), budget_(budget) {
  unpack_once();
  budget_.first -= bytes_;
  budget_.held -= held_.size();
  if (fault_ && fault_->code() == ErrorCode::unsupported_format) bytes_ = held_.size();
}

UnpackedSource::~UnpackedSource() { budget_.held += held_.size(); }

void UnpackedSource::unpack_once() {
  Unpacker unpacker(source_, begin_, end_, packing_, budget_.first);
  std::vector<std::byte> piece(kPieceBytes);
  bool fits = true;
  try {
    while (const size_t count = unpacker.read(piece)) {
      const auto data = piece.begin();
      const auto data_end = data + static_cast<ptrdiff_t>(count);
      bytes_ += count;
      crc_ = crc32(crc_, std::span<const std::byte>(piece).first(count));
      fits = fits && count <= budget_.held - held_.size();
      if (fits) {
        held_.insert(held_.end(), data, data_end);
        continue;
      }
      if (tail_.size() >= 2 * kTailBytes) tail_.erase(tail_.begin(), tail_.end() - kTailBytes);
      tail_.insert(tail_.end(), data, data_end);
    }
  } catch (const Error& error) {
    if (error.exit_status() != 3 && error.exit_status() != 4) throw;
    fault_ = error;
  }
  packed_end_ = unpacker.position();
}

void UnpackedSource::read(uint64_t offset, std::span<std::byte> into) const {
  if (offset > bytes_ || into.size() > bytes_ - offset)
    throw Error(ErrorCode::internal, "a read beyond what a stream unpacks to").with_offset(bytes_);
  if (into.empty()) return;
  const uint64_t tail_begin = bytes_ - std::min<uint64_t>(bytes_, tail_.size());
  if (offset + into.size() <= held_.size()) {
    std::memcpy(into.data(), held_.data() + offset, into.size());
  } else if (!tail_.empty() && offset >= tail_begin) {
    std::memcpy(into.data(), tail_.data() + (offset - tail_begin), into.size());
  } else {
    read_forward(offset, into);
  }
}

void UnpackedSource::read_forward(uint64_t offset, std::span<std::byte> into) const {
  if (!again_ || offset < recent_begin_) {
    again_ = std::make_unique<Unpacker>(source_, begin_, end_, packing_, bytes_);
    recent_.clear();
    recent_begin_ = 0;
  }
  while (recent_begin_ + recent_.size() < offset + into.size()) {
    const size_t before = recent_.size();
    recent_.resize(before + kPieceBytes);
    const size_t count = again_->read(std::span(recent_).subspan(before));
    recent_.resize(before + count);
    if (count == 0) throw Error(ErrorCode::changed_during_read, "the compressed file ends early");
    if (count > budget_.again) throw gone_back_too_often();
    budget_.again -= count;
    const uint64_t end = recent_begin_ + recent_.size();
    const uint64_t kept_from = std::min(offset, end - std::min<uint64_t>(end, kTailBytes));
    if (kept_from < recent_begin_ + kTailBytes) continue;
    recent_.erase(recent_.begin(), recent_.begin() + static_cast<ptrdiff_t>(kept_from - recent_begin_));
    recent_begin_ = kept_from;
  }
  std::memcpy(into.data(), recent_.data() + (offset - recent_begin_), into.size());
}

}  // namespace hfload
