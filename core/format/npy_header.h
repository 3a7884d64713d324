#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "core/format/byte_source.h"

namespace hfload {

/// How a file of numpy's .npy format begins.
inline constexpr std::string_view kNpyMagic = "\x93NUMPY";

/// What the header of an .npy file says.
struct NpyHeader {
  uint64_t data_offset = 0;            ///< bytes from the start of the source
  bool has_objects = false;            ///< the data are a pickle
  bool is_known = false;               ///< the dtype is one that this reader knows
  std::optional<uint64_t> data_bytes;  ///< of raw data; nothing where the size of an element is not known
};

/// Reads the header of the .npy file that begins at `begin` (numpy/lib/format.py, versions 1 to 3).
/// Throws Error(invalid_npy) for a header that is cut off or is no Python literal, Error(unsupported_format)
/// for other versions and for a header beyond 1 MiB.
NpyHeader read_npy_header(const ByteSource& source, uint64_t begin, uint64_t end);

}  // namespace hfload
