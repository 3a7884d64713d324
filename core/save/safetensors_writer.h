#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/format/dtype.h"

namespace hfload {

/// A tensor as it is to be written.
struct OutputTensor {
  std::string name;
  Dtype dtype = Dtype::unknown;
  std::vector<uint64_t> shape;
  uint64_t bytes = 0;
};

/// What stands in a file besides tensors.
struct FilePiece {
  uint64_t offset = 0;  ///< bytes from the start of the file
  std::string bytes;
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

/// A weight file before its tensors are written.
struct FileLayout {
  uint64_t file_bytes = 0;
  std::vector<FilePiece> pieces;
  std::vector<TensorSlot> slots;         ///< by ascending offset
  std::vector<ChecksumPlace> checksums;  ///< parallel to slots, or none; the pieces hold zeros there
};

/// The layout that the safetensors package 0.8 gives a file with the metadata {"format": "pt"}: tensors by
/// descending dtype (in the order of its enumeration), then by name; the header padded with spaces to a
/// multiple of 8. `chosen` are the tensors of `tensors` that the file holds. Names are valid UTF-8. Throws
/// Error(header_too_large) beyond 100,000,000 bytes of header, Error(name_collision) for a tensor that is
/// called `__metadata__`.
FileLayout safetensors_layout(std::span<const OutputTensor> tensors, std::span<const uint32_t> chosen);

}  // namespace hfload
