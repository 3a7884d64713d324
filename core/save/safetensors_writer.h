#pragma once

#include <cstdint>
#include <span>

#include "core/base/text_sink.h"
#include "core/save/file_layout.h"

namespace hfload {

/// The layout that the safetensors package 0.8 gives a file with the metadata {"format": "pt"}: tensors by
/// descending dtype (in the order of its enumeration), then by name; the header padded with spaces to a
/// multiple of 8. `chosen` are the tensors of `tensors` that the file holds. Names are valid UTF-8. Throws
/// Error(header_too_large) beyond 100,000,000 bytes of header, Error(name_collision) for a tensor that is
/// called `__metadata__`.
FileLayout safetensors_layout(std::span<const OutputTensor> tensors, std::span<const uint32_t> chosen);

/// Writes the length prefix and the header of a file that has such a layout.
void write_safetensors_head(std::span<const OutputTensor> tensors, const FileLayout& layout,
                            const TextSink& sink);

}  // namespace hfload
