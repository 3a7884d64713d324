#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hfload {

/// One tensor of an offload folder, as accelerate's index.json records it (accelerate 1.x, utils/offload.py):
/// in `<name>.dat` beside the index, or in place in a safetensors file.
struct OffloadEntry {
  std::string name;
  /// "float16"; for a .dat file numpy's name of the dtype, or "bfloat16" or "float8_…" for what is stored as
  /// integers of that width; in place, torch's name of the dtype that the tensor is read as, or empty.
  std::string dtype;
  std::vector<uint64_t> shape;   ///< of a .dat file; [] for a scalar, which the file holds as one element
  std::string safetensors_file;  ///< path; empty for a .dat file
  std::string weight_name;       ///< the tensor's name in that file; empty where it is `name`

  bool in_place() const { return !safetensors_file.empty(); }
  bool operator==(const OffloadEntry&) const = default;
};

/// Reads an index.json; entries in its order. Throws Error of exit status 3: invalid_offload_index for an
/// entry of another form, also one with a field that is not known and would be lost on writing.
std::vector<OffloadEntry> parse_offload_index(std::string_view json);

/// The text that accelerate writes for these entries: Python's json.dump with an indent of 2. A byte of a
/// path that is no UTF-8 is written as Python reads it back (\udc80 to \udcff).
std::string format_offload_index(std::span<const OffloadEntry> entries);

}  // namespace hfload
