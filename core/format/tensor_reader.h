#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/base/file.h"

namespace hfload {

/// Where the elements of a tensor lie in a file. Checked: every element lies inside the file.
struct StridedTensor {
  uint64_t data_offset = 0;  ///< of element (0, 0, …), bytes from the start of the file
  std::vector<uint64_t> shape;
  std::vector<uint64_t> strides;  ///< in elements, one for each dimension; 0 repeats
  uint32_t element_bytes = 1;
  uint32_t swap_bytes = 1;  ///< groups of so many bytes are turned round; 1: none
};

/// Reads elements [first, first + into.size() / element_bytes) of the tensor, counted in row-major order, as
/// contiguous little-endian bytes. Memory beyond `into` is 1 MiB, whatever the strides; larger
/// pieces are read faster when the tensor is not contiguous (4 MiB is good). `into` is a whole
/// number of elements within the tensor. Throws as read_exactly.
void read_tensor_elements(const RegularFile& file, const StridedTensor& tensor, uint64_t first,
                          std::span<std::byte> into);

}  // namespace hfload
