#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/format/dtype.h"

namespace hfload {

/// A tensor as it is to be written. Name and shape belong to what it was made from.
struct OutputTensor {
  std::string_view name;
  Dtype dtype = Dtype::unknown;
  std::span<const uint64_t> shape;
  uint64_t bytes = 0;
};

/// Where the bytes of one tensor go.
struct TensorSlot {
  uint32_t tensor = 0;  ///< index of the tensor that was given
  uint64_t offset = 0;  ///< bytes from the start of the file
};

/// Where the CRC-32 of a tensor's bytes is written, little-endian: bytes from the start of the file.
struct ChecksumPlace {
  uint64_t first_offset = 0;
  uint64_t second_offset = 0;
};

/// A name of a PyTorch file's state dict.
struct StateDictEntry {
  uint32_t tensor = 0;   ///< index of the tensor that was given
  uint32_t storage = 0;  ///< the number of the slot that holds its elements
};

/// What a PyTorch file has besides slots.
struct ArchiveLayout {
  std::string directory;                ///< that all members are in
  std::vector<StateDictEntry> entries;  ///< in the order of the state dict
  uint64_t pickle_bytes = 0;            ///< of data.pkl
  uint32_t pickle_crc = 0;
  std::vector<ChecksumPlace> checksums;  ///< parallel to the slots; zeros are written there at first
};

/// A weight file before its tensors are written. The text around them is not kept, as it takes more memory
/// than all the rest: it is made again whenever it is needed (write_around_tensors).
struct FileLayout {
  uint64_t file_bytes = 0;
  uint64_t head_bytes = 0;                              ///< before the first tensor, of a safetensors file
  std::vector<TensorSlot> slots;                        ///< by ascending offset
  std::optional<ArchiveLayout> archive = std::nullopt;  ///< of a PyTorch file
};

/// Takes a part of a file, which begins so many bytes from its start.
using PieceSink = std::function<void(uint64_t offset, std::string_view bytes)>;

/// Passes on all that a file holds besides its tensors, by ascending offset, in parts of some 64 KiB.
/// `tensors` are those that the layout was made of.
void write_around_tensors(std::span<const OutputTensor> tensors, const FileLayout& layout,
                          const PieceSink& sink);

}  // namespace hfload
