#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/base/error.h"
#include "core/format/byte_source.h"
#include "core/format/unpack.h"

namespace hfload {

/// What is left for unpacking, of all streams of one file together.
struct UnpackBudget {
  uint64_t first = 0;  ///< bytes that streams may unpack to, each counted once
  uint64_t again = 0;  ///< bytes that may be unpacked another time, to go back in a stream
  uint64_t held = 0;   ///< bytes of memory
};

/// A part of a source, as a source of its own. The range lies inside `source`, which must outlive it.
class RangeSource final : public ByteSource {
 public:
  RangeSource(const ByteSource& source, uint64_t begin, uint64_t end)
      : source_(source), begin_(begin), bytes_(end - begin) {}
  uint64_t bytes() const override { return bytes_; }
  void read(uint64_t offset, std::span<std::byte> into) const override {
    source_.read(begin_ + offset, into);
  }

 private:
  const ByteSource& source_;
  uint64_t begin_, bytes_;
};

/// What a compressed stream unpacks to. It is unpacked once, to know how long it is; its first bytes are held
/// in memory as far as the budget goes, and its last mebibyte. A read elsewhere unpacks again, from the start
/// where it goes back by more than a mebibyte. For one thread.
class UnpackedSource final : public ByteSource {
 public:
  /// Unpacks source[begin, end). `source` and `budget` must outlive it.
  UnpackedSource(const ByteSource& source, uint64_t begin, uint64_t end, Packing packing,
                 UnpackBudget& budget);
  ~UnpackedSource() override;
  UnpackedSource(const UnpackedSource&) = delete;
  UnpackedSource& operator=(const UnpackedSource&) = delete;

  /// Of what could be unpacked.
  uint64_t bytes() const override { return bytes_; }
  /// Of the source: where the stream ends.
  uint64_t packed_end() const { return packed_end_; }
  /// CRC-32 of what could be unpacked.
  uint32_t crc() const { return crc_; }
  /// Why the stream ended early: Error(invalid_stream), or Error(unsupported_format) beyond the budget.
  const std::optional<Error>& fault() const { return fault_; }
  /// Throws Error(unsupported_format) where the budget for going back is used up, and what `source` throws.
  void read(uint64_t offset, std::span<std::byte> into) const override;

 private:
  void unpack_once();
  void read_forward(uint64_t offset, std::span<std::byte> into) const;

  const ByteSource& source_;
  uint64_t begin_, end_;
  Packing packing_;
  UnpackBudget& budget_;
  uint64_t bytes_ = 0, packed_end_ = 0;
  uint32_t crc_ = 0;
  std::vector<std::byte> held_;  ///< from the first byte on
  std::vector<std::byte> tail_;  ///< up to the last byte; empty where held_ has all
  std::optional<Error> fault_;
  mutable std::unique_ptr<Unpacker> again_;
  mutable std::vector<std::byte> recent_;  ///< what it has unpacked last, up to where it is
  mutable uint64_t recent_begin_ = 0;
};

}  // namespace hfload
