#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/base/file.h"

namespace hfload {

/// Bytes that can be read at any offset: a file, or memory in tests.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual uint64_t bytes() const = 0;
  /// Fills `into` from `offset`; the caller has checked that the range lies inside. Throws as read_exactly.
  virtual void read(uint64_t offset, std::span<std::byte> into) const = 0;
};

/// Reads with pread; the file must outlive it.
class FileSource final : public ByteSource {
 public:
  explicit FileSource(const RegularFile& file) : file_(file) {}
  uint64_t bytes() const override { return file_.identity.bytes; }
  void read(uint64_t offset, std::span<std::byte> into) const override { read_exactly(file_, offset, into); }

 private:
  const RegularFile& file_;
};

/// Bytes that the caller keeps.
class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::span<const std::byte> data) : data_(data) {}
  uint64_t bytes() const override { return data_.size(); }
  void read(uint64_t offset, std::span<std::byte> into) const override;

 private:
  std::span<const std::byte> data_;
};

/// Reads a range of a source from its start to its end through a window of 64 KiB.
class ByteReader {
 public:
  /// The range [begin, end) lies inside the source.
  ByteReader(const ByteSource& source, uint64_t begin, uint64_t end)
      : source_(source), end_(end), window_begin_(begin), position_(begin) {}

  /// Bytes from the start of the source.
  uint64_t position() const { return position_; }
  uint64_t remaining() const { return end_ - position_; }
  /// The next byte; at least one remains.
  uint8_t next();
  /// The next `count` bytes, an unsigned little-endian number; count <= 8 and <= remaining().
  uint64_t little_endian(unsigned count);
  /// Appends the next `count` bytes to `into`; count <= remaining(). Allocates piece by piece.
  void append_to(std::string& into, uint64_t count);
  /// The next bytes; as many remain.
  void copy_to(std::span<char> into);
  /// count <= remaining().
  void skip(uint64_t count) { position_ += count; }

 private:
  void fill();

  const ByteSource& source_;
  uint64_t end_, window_begin_, position_;
  std::vector<std::byte> window_;
};

}  // namespace hfload
