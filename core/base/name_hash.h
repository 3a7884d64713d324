#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

namespace hfload {

/// Hashes names with a secret of the process, so that no file can hold names that are chosen to collide.
class NameHash {
 public:
  NameHash();
  uint64_t operator()(std::string_view name) const;

 private:
  uint64_t secret_[2] = {0x9e3779b97f4a7c15, 0xc2b2ae3d27d4eb4f};  ///< odd, lest a product is 0
};

/// By names, which others keep.
template <class Value>
using NameMap = std::unordered_map<std::string_view, Value, NameHash>;
using NameSet = std::unordered_set<std::string_view, NameHash>;

}  // namespace hfload
