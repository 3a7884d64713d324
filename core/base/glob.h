#pragma once

#include <string>

namespace hfload {

/// Whether a shell-style glob (*, ?, [a-z]) matches a whole name; a dot is a character like any other.
bool matches_glob(const std::string& glob, const std::string& name);

}  // namespace hfload
