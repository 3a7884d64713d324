#pragma once

#include <string>
#include <vector>

namespace hfload {

/// Names of the entries of an open directory, "." and ".." left out, sorted. `path` is for messages.
/// Throws Error(io_error).
std::vector<std::string> list_directory(int directory, const std::string& path);

/// The same of the directory `path`. Throws Error(not_found, not_a_file) besides.
std::vector<std::string> list_directory(const std::string& path);

}  // namespace hfload
