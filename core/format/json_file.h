#pragma once

#include <simdjson.h>

#include <cstdint>

#include "core/base/file.h"

namespace hfload::json {

/// The whole file as simdjson needs it, with one copy of it in memory. Throws as read_text_file.
simdjson::padded_string read_padded_file(const RegularFile& file, uint64_t limit_bytes);

}  // namespace hfload::json
