#include "kernels/hash.h"

#include <cstddef>
#include <cstring>

namespace hfload {

uint64_t hash_part(const void* data, uint64_t bytes, uint64_t first_word) {
  const auto* at = static_cast<const std::byte*>(data);
  const uint64_t words = bytes / 8;
  uint64_t sum = 0;
  for (uint64_t i = 0; i < words; ++i) {
    uint64_t word = 0;
    std::memcpy(&word, at + i * 8, 8);
    sum += hash_word(word, first_word + i);
  }
  if (const uint64_t rest = bytes % 8; rest != 0) {
    uint64_t word = 0;
    std::memcpy(&word, at + words * 8, rest);
    sum += hash_word(word, first_word + words);
  }
  return sum;
}

}  // namespace hfload
