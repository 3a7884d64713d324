#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hfload {

/// Bytes that a size such as "20GiB", "1.5GB" or "500mb" stands for, as accelerate 1.x's
/// `convert_file_size_to_int` reads it: GiB, MiB, KiB are powers of 1024, GB, MB, KB powers of 1000; a
/// decimal unit whose last letter is a lower-case b counts bits ("8Gb" is 10^9 bytes); a fraction of a byte
/// is dropped. A bare whole number, which accelerate takes as an integer and not as a string, is bytes.
/// Throws Error(invalid_size).
uint64_t parse_byte_size(std::string_view text);

/// Whether a size that parse_byte_size reads counts bits: "8Gb", "500mb".
bool counts_bits(std::string_view text);

/// "1.50 GiB", "312 B": for people, three significant digits.
std::string format_byte_size(double bytes);

}  // namespace hfload
