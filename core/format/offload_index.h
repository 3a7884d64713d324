#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/file.h"
#include "core/base/text_sink.h"

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

/// The longest index.json that is read.
inline constexpr uint64_t kMaxOffloadIndexBytes = 100'000'000;
inline constexpr size_t kOffloadIndexPieceBytes = size_t{64} << 10;

/// Takes the entries of an index, in its order.
using OffloadEntrySink = std::function<void(OffloadEntry entry)>;

/// Reads an index.json, by pieces of so many bytes and more: of 10^5 tensors it is large. Throws Error of
/// exit status 3: invalid_offload_index for an entry of another form, also one with a field that is not known
/// and would be lost on writing. The sink may have been given entries by then.
void parse_offload_index(std::string_view json, const OffloadEntrySink& sink,
                         size_t piece_bytes = kOffloadIndexPieceBytes);
/// The same of a file. Errors name it; Error(json_too_large) above kMaxOffloadIndexBytes besides.
void read_offload_index(const RegularFile& file, const OffloadEntrySink& sink);

/// Writes the text that accelerate writes for the entries that are added: Python's json.dump with an indent
/// of 2. A byte of a path that is no UTF-8 is written as Python reads it back (\udc80 to \udcff).
class OffloadIndexWriter {
 public:
  /// The sink must outlive it.
  explicit OffloadIndexWriter(const TextSink& sink) : text_(sink) {}
  void add(const OffloadEntry& entry);
  /// To be called once, after the last entry.
  void finish();

 private:
  BufferedText text_;
  bool is_empty_ = true;
};

}  // namespace hfload
