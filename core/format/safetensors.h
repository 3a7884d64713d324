#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/boxed.h"
#include "core/base/compact_string.h"
#include "core/base/file.h"
#include "core/base/name_index.h"
#include "core/format/dtype.h"
#include "core/format/shape.h"

namespace hfload {

/// Most bytes that a header may declare (safetensors 0.8, MAX_HEADER_SIZE).
inline constexpr uint64_t kMaxSafetensorsHeaderBytes = 100'000'000;

/// One tensor of a safetensors file. Checked: end - begin is exactly the bytes of dtype and shape (for a
/// known dtype), and the range lies in the data section.
struct TensorInfo {
  CompactString name;
  Dtype dtype = Dtype::unknown;
  Boxed<std::string> other_dtype;  ///< the name of a dtype that is unknown, as the header gives it
  Shape shape;
  uint64_t begin = 0;  ///< data_offsets[0]: bytes from the start of the data section
  uint64_t end = 0;    ///< data_offsets[1], exclusive

  uint64_t bytes() const { return end - begin; }
  std::string_view dtype_name() const {
    return other_dtype ? std::string_view(*other_dtype) : dtype_info(dtype).safetensors_name;
  }
};

/// A parsed and validated header.
struct SafetensorsHeader {
  std::vector<std::pair<std::string, std::string>> metadata;  ///< `__metadata__` in file order
  std::vector<TensorInfo> tensors;  ///< in data order: contiguous from 0 to the end of the file
  uint64_t data_start = 0;          ///< 8 + header length: bytes from the start of the file
  std::vector<std::string> notes;   ///< accepted oddities, one sentence each
  NameIndex by_name;                ///< of `tensors`

  /// Null where there is none.
  const TensorInfo* find(std::string_view name) const;
  /// Fills `by_name`; false when two tensors have one name.
  bool index_tensors();
};

/// The declared header length of a file of `file_bytes` bytes whose first bytes are `prefix`.
/// Throws Error(header_too_small, header_too_large, header_truncated, lfs_pointer).
uint64_t parse_safetensors_header_length(std::span<const std::byte> prefix, uint64_t file_bytes);

/// Parses and validates the header of a file of `file_bytes` bytes, of which `head` holds at least the length
/// prefix and the header. The rules are those of safetensors 0.8 (`read_metadata`, `validate`) with the
/// decisions of docs/formats.md: duplicate keys are refused, unknown fields and unknown dtypes are accepted
/// with a note. Pure; offsets in errors are bytes from the start of the file. Throws Error of exit status 3.
SafetensorsHeader parse_safetensors_header(std::span<const std::byte> head, uint64_t file_bytes);

/// Reads and parses the header of an open file, allocating in proportion to the header, which is first
/// checked to lie in the file.
/// Errors carry the file's path.
SafetensorsHeader read_safetensors_header(const RegularFile& file);

}  // namespace hfload
