#include "core/base/name_hash.h"

#include <sys/auxv.h>

#include <cstring>

namespace hfload {
namespace {

template <class Word>
uint64_t load(const char* from) {
  Word word;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

/// Both halves of the product of two words, one upon the other: each bit of the result depends on all of
/// both.
uint64_t mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

}  // namespace

NameHash::NameHash() {
  // 16 random bytes that the kernel gives each process (getauxval(3)).
  if (const auto* random = reinterpret_cast<const char*>(getauxval(AT_RANDOM))) {  // NOLINT: so it is given
    secret_[0] = load<uint64_t>(random) | 1;
    secret_[1] = load<uint64_t>(random + 8) | 1;
  }
}

uint64_t NameHash::operator()(std::string_view name) const {
  const char* at = name.data();
  const size_t size = name.size();
  uint64_t hash = secret_[1] ^ size;
  uint64_t first = 0, last = 0;
  if (size > 16) {
    // The last 16 bytes may overlap what went before.
    const char* const tail = at + size - 16;
    for (; at < tail; at += 16) hash = mix(load<uint64_t>(at) ^ secret_[0], load<uint64_t>(at + 8) ^ hash);
    first = load<uint64_t>(tail);
    last = load<uint64_t>(tail + 8);
  } else if (size >= 8) {
    first = load<uint64_t>(at);
    last = load<uint64_t>(at + size - 8);
  } else if (size >= 4) {
    first = load<uint32_t>(at);
    last = load<uint32_t>(at + size - 4);
  } else if (size > 0) {
    first = load<uint8_t>(at) << 8 | load<uint8_t>(at + size / 2);
    last = load<uint8_t>(at + size - 1);
  }
  hash = mix(first ^ secret_[0], last ^ hash);
  return mix(hash ^ secret_[1], secret_[0]);
}

}  // namespace hfload
