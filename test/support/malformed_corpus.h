#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/error.h"

namespace hfload::test {

/// Which parser a case is for.
enum class DocumentKind : uint8_t { safetensors, shard_index, model_config };

/// One input that must be refused, and how.
struct MalformedCase {
  DocumentKind kind;
  std::string name;  ///< usable as a file name
  ErrorCode code;
  std::string tensor;              ///< the tensor that the error names; empty for none
  std::optional<uint64_t> offset;  ///< the byte that the error points to, where the case fixes it
  std::string bytes;
};

/// All cases, each with a name of its own within its kind.
std::vector<MalformedCase> malformed_corpus();

}  // namespace hfload::test
