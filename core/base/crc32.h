#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace hfload {

/// CRC-32 of zip and gzip (polynomial 0xEDB88320, reflected) of `bytes`, continuing after `crc`, the CRC of
/// what stands before them; 0 for nothing.
uint32_t crc32(uint32_t crc, std::span<const std::byte> bytes);

/// The CRC of two texts one after the other, from the CRC of each and the length of the second.
uint32_t crc32_combine(uint32_t first, uint32_t second, uint64_t second_bytes);

}  // namespace hfload
