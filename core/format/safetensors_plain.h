#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "core/format/safetensors.h"

namespace hfload {

/// Reads the next bytes of a header, as many as there is room for.
using ReadHeaderText = std::function<void(std::span<std::byte> into)>;

/// Of the header that read_plain_header holds at a time: enough for many tensors, little enough to stay in a
/// core's own cache.
inline constexpr size_t kHeaderWindowBytes = 128 << 10;

/// Reads a header of `header_bytes` bytes that is spelled as writers spell it: no escapes, no fields or
/// dtypes that are unknown, no white space before a colon, no member longer than `window_bytes`. Nothing for
/// any other header, right or wrong, on which read_any_header decides. What is returned is what that would
/// return. Throws what `read_next` throws.
std::optional<SafetensorsHeader> read_plain_header(uint64_t header_bytes, uint64_t file_bytes,
                                                   const ReadHeaderText& read_next,
                                                   size_t window_bytes = kHeaderWindowBytes);

}  // namespace hfload
