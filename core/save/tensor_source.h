#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "core/base/file.h"
#include "core/format/dtype.h"
#include "core/model/checkpoint.h"

namespace hfload {

/// A tensor that can be read. Its texts and shape belong to the source, or to what it was opened from.
struct SourceTensor {
  std::string_view name;
  Dtype dtype = Dtype::unknown;
  std::span<const uint64_t> shape;
  uint64_t bytes = 0;  ///< of its elements, one after the other
  /// Tensors of one number are the same elements under several names, as PyTorch's format can say; nothing
  /// for a tensor of its own.
  std::optional<uint64_t> same_elements = std::nullopt;
};

/// Where a tensor's elements lie one after the other, little-endian, in an open file.
struct FileRange {
  std::shared_ptr<const RegularFile> file;
  uint64_t offset = 0;  ///< bytes from the start of the file
};

/// What a conversion reads: a list of tensors and their elements. Formats plug in here. All const members may
/// be called from several threads at once.
class TensorSource {
 public:
  TensorSource() = default;
  TensorSource(const TensorSource&) = delete;
  TensorSource& operator=(const TensorSource&) = delete;
  virtual ~TensorSource() = default;

  /// A tensor of the checkpoint that it was opened from, by its number in Checkpoint::tensors.
  virtual SourceTensor tensor(uint32_t index) const = 0;
  /// Fills `into` with the bytes from `offset` on of a tensor's elements in row-major order, little-endian.
  /// Both are multiples of the element size (of a byte for dtypes below one). Throws
  /// Error(changed_during_read, io_error).
  virtual void read(uint32_t tensor, uint64_t offset, std::span<std::byte> into) const = 0;
  /// The range that holds what `read` gives, where there is one.
  virtual std::optional<FileRange> file_range(uint32_t tensor) const = 0;
  /// Throws Error(changed_during_read) when a file that was read is no longer as it was at first.
  virtual void require_unchanged() const = 0;
};

/// Reads a part of a tensor from its start to its end, in smaller parts. What does not lie in a file as it is
/// wanted is gathered 4 MiB at a time, which for a transposed tensor is many times faster than less.
class PieceReader {
 public:
  /// Bounds the memory of all readers of one run: so many gather at once, and others wait.
  static constexpr int kMostGathering = 4;
  /// Not a std::counting_semaphore: that of GCC 12 can lose a wake-up (bug 98033).
  class Slots {
   public:
    explicit Slots(int free) : free_(free) {}
    /// Waits for a slot.
    void acquire();
    void release();

   private:
    std::mutex mutex_;
    std::condition_variable changed_;
    int free_;
  };

  /// Reads `bytes` bytes of the elements from `first_byte` on.
  PieceReader(const TensorSource& source, uint32_t tensor, uint64_t first_byte, uint64_t bytes, Slots& slots);
  PieceReader(const PieceReader&) = delete;
  PieceReader& operator=(const PieceReader&) = delete;
  ~PieceReader();

  /// The next bytes. Throws as TensorSource::read.
  void read(std::span<std::byte> into);

 private:
  void gather();

  const TensorSource& source_;
  Slots& slots_;
  uint32_t tensor_;
  uint64_t at_, end_;  ///< bytes from the start of the elements
  bool in_place_;
  std::vector<std::byte> gathered_;
  size_t used_ = 0;  ///< bytes of gathered_
};

/// What opening a source does about shards that are not there.
enum class AbsentShards : uint8_t {
  refuse,
  allow  ///< their tensors have no dtype and no bytes, and must not be read
};

/// The tensors of a checkpoint of any format that is read. Elements that do not lie in place (strided,
/// repeated, big-endian) are read as the contiguous little-endian tensor, with 1 MiB a thread. `checkpoint`
/// must outlive it. Throws Error(shard_missing, unsupported_format, weights_not_found).
std::unique_ptr<TensorSource> open_tensor_source(const Checkpoint& checkpoint,
                                                 AbsentShards absent = AbsentShards::refuse);

}  // namespace hfload
