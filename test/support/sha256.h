#pragma once

#include <string>
#include <string_view>

namespace hfload::test {

/// The SHA-256 of the data (FIPS 180-4), 64 hexadecimal digits, as hashlib's hexdigest gives it.
std::string sha256(std::string_view data);

}  // namespace hfload::test
