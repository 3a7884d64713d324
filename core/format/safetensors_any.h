#pragma once

#include <simdjson.h>

#include <cstdint>

#include "core/format/safetensors.h"

namespace hfload {

/// Reads any header that there is, and refuses what is none: the rules and the errors of
/// parse_safetensors_header, whose work this is wherever read_plain_header does not do it. `file_bytes` is at
/// least 8 more than the text has.
SafetensorsHeader read_any_header(simdjson::padded_string text, uint64_t file_bytes);

}  // namespace hfload
