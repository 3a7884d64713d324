#pragma once

#include <string>
#include <string_view>

namespace hfload {

/// Writes a whole file, or nothing: under a temporary name in the same directory, flushed to the disk, then
/// renamed. A file of that name is replaced; where the name is a link, the file it leads to. Throws
/// Error(not_a_file) for a directory, pipe or device, Error(io_error).
void write_file_atomically(const std::string& path, std::string_view text);

}  // namespace hfload
