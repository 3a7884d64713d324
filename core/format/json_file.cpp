#include "core/format/json_file.h"

#include <fmt/core.h>

#include <span>

#include "core/base/error.h"
#include "core/format/json.h"

namespace hfload::json {

simdjson::padded_string read_padded_file(const RegularFile& file, uint64_t limit_bytes) {
  const uint64_t bytes = file.identity.bytes;
  if (bytes > limit_bytes) {
    throw Error(ErrorCode::json_too_large,
                fmt::format("the file has {} bytes; at most {} are read as JSON", bytes, limit_bytes))
        .with_path(file.path);
  }
  simdjson::padded_string text = padded_buffer(bytes);
  read_exactly(file, 0, std::as_writable_bytes(std::span(text.data(), bytes)));
  require_unchanged(file);
  return text;
}

}  // namespace hfload::json
