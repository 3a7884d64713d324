#pragma once

#include <simdjson.h>

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "core/base/error.h"

namespace hfload::fuzz {

/// Ends the run as a finding.
inline void require(bool condition) {
  if (!condition) std::abort();
}

inline std::string_view as_text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// The refusal of `parse`, which must be one of malformed input that points into the file; nothing when it
/// returns.
template <class Parse>
std::optional<Error> refusal_of(Parse&& parse, uint64_t file_bytes) {
  try {
    parse();
  } catch (const Error& error) {
    require(error.exit_status() == 3);
    require(error.offset().has_value() && *error.offset() <= file_bytes);
    require(!error.message().empty());
    return error;
  }
  return std::nullopt;
}

/// simdjson's other parser, which reads a document from end to end, must accept what our reading of On-Demand
/// accepted. Numbers are left out: only grammar is required of one that nobody reads, while the other parser
/// must be able to hold it.
inline void require_json(std::string_view text) {
  simdjson::dom::parser parser;
  const simdjson::error_code error = parser.parse(simdjson::padded_string(text)).error();
  require(error == simdjson::SUCCESS || error == simdjson::NUMBER_ERROR);
}

}  // namespace hfload::fuzz
