#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

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

/// Reads a file that `hfload verify --write-hashes` wrote, by tensor name. Pure. Throws Error of exit status
/// 3 (invalid_hashes, invalid_json, duplicate_key, …).
std::map<std::string, SavedHash> parse_tensor_hashes(std::string_view json);

}  // namespace hfload
