#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/file.h"

namespace hfload {

/// Most bytes of a file of hashes: some 200 a tensor.
inline constexpr uint64_t kMaxTensorHashesBytes = 256'000'000;

/// What a file of hashes says of one tensor.
struct SavedHash {
  std::string dtype;  ///< as in a safetensors header
  std::vector<uint64_t> shape;
  std::string hash;  ///< 16 hexadecimal digits

  bool operator==(const SavedHash&) const = default;
};

/// Takes what the file says of one tensor.
using SavedHashSink = std::function<void(std::string_view tensor, const SavedHash& saved)>;

/// Passes on the entries of a file that `hfload verify --write-hashes` wrote, in its order; what was passed
/// on counts only if nothing is thrown. Throws Error of exit status 3 (invalid_hashes, invalid_json,
/// duplicate_key, …).
void parse_tensor_hashes(std::string_view json, const SavedHashSink& sink);

/// Reads and parses such a file, with one copy of its text in memory. Errors carry the file's path. Throws
/// Error(json_too_large) above kMaxTensorHashesBytes besides.
void read_tensor_hashes(const RegularFile& file, const SavedHashSink& sink);

}  // namespace hfload
