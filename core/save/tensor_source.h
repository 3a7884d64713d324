#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

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

  /// The tensors of the checkpoint it was opened from, in the order of Checkpoint::tensors.
  virtual std::span<const SourceTensor> tensors() const = 0;
  /// Fills `into` with the bytes from `offset` on of a tensor's elements in row-major order, little-endian.
  /// Both are multiples of the element size (of a byte for dtypes below one). Throws
  /// Error(changed_during_read, io_error).
  virtual void read(uint32_t tensor, uint64_t offset, std::span<std::byte> into) const = 0;
  /// The range that holds what `read` gives, where there is one.
  virtual std::optional<FileRange> file_range(uint32_t tensor) const = 0;
  /// Throws Error(changed_during_read) when a file that was read is no longer as it was at first.
  virtual void require_unchanged() const = 0;
};

/// What opening a source does about shards that are not there.
enum class AbsentShards : uint8_t {
  refuse,
  allow  ///< their tensors have no dtype and no bytes, and must not be read
};

/// The tensors of a checkpoint of any format that is read. Elements that do not lie in place (strided,
/// repeated, big-endian) are read as the contiguous little-endian tensor, by at most two threads at a time
/// and with at most 4.3 MiB each. `checkpoint` must outlive it. Throws Error(shard_missing,
/// unsupported_format, weights_not_found).
std::unique_ptr<TensorSource> open_tensor_source(const Checkpoint& checkpoint,
                                                 AbsentShards absent = AbsentShards::refuse);

}  // namespace hfload
