#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/base/file.h"
#include "core/format/byte_source.h"

namespace hfload {

/// What is done to the numbers of a tensor once they are read: torch keeps conjugates and negatives of a
/// tensor as views of it with a bit set (https://pytorch.org/docs/stable/complex_numbers.html).
enum class Negation : uint8_t {
  none,
  integers,  ///< in two's complement
  floats,
  complexes,  ///< both parts of each number
  real_parts,
  imaginary_parts
};

/// Where the elements of a tensor lie in a file. Checked: every element lies inside the file.
struct StridedTensor {
  uint64_t data_offset = 0;  ///< of element (0, 0, …), bytes from the start of the file
  std::vector<uint64_t> shape;
  std::vector<uint64_t> strides;  ///< in elements, one for each dimension; 0 repeats
  uint32_t element_bytes = 1;
  uint32_t swap_bytes = 1;  ///< groups of so many bytes are turned round; 1: none
  Negation negation = Negation::none;
};

/// What a strided read takes beside its destination: 1 MiB. Used again, it is not allocated again.
struct StridedReadBuffers {
  std::vector<std::byte> window;
};

/// Reads elements [first, first + into.size() / element_bytes) of the tensor, counted in row-major order, as
/// contiguous little-endian bytes. Larger pieces are read faster when the tensor is not contiguous (4 MiB
/// is good). `into` is a whole number of elements within the tensor. Throws as the source's read.
void read_tensor_elements(const ByteSource& source, const StridedTensor& tensor, uint64_t first,
                          std::span<std::byte> into, StridedReadBuffers& buffers);

/// The same of a file, with buffers of its own. Throws as read_exactly.
void read_tensor_elements(const RegularFile& file, const StridedTensor& tensor, uint64_t first,
                          std::span<std::byte> into);

}  // namespace hfload
