#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "core/base/text_sink.h"

namespace hfload {

/// Writes a whole file, or nothing: under a temporary name in the same directory, flushed to the disk, then
/// renamed. A file of that name is replaced; where the name is a link, the file it leads to. Throws
/// Error(not_a_file) for a directory, pipe or device, Error(io_error).
void write_file_atomically(const std::string& path, std::string_view text);
/// The same of a text that `write` makes part by part.
void write_file_atomically(const std::string& path, const std::function<void(const TextSink&)>& write);

}  // namespace hfload
