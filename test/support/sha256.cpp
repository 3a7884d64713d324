#include "test/support/sha256.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

namespace hfload::test {
namespace {

/// The first 32 bits of the fraction of the square or cube root of a prime.
uint32_t root_fraction(unsigned prime, bool cube) {
  const long double root = cube ? cbrtl(prime) : sqrtl(prime);
  return static_cast<uint32_t>((root - floorl(root)) * 4294967296.0L);
}

struct Constants {
  std::array<uint32_t, 8> initial{};
  std::array<uint32_t, 64> round{};
  Constants() {
    unsigned count = 0;
    for (unsigned n = 2; count < 64; ++n) {
      bool is_prime = true;
      for (unsigned d = 2; d * d <= n; ++d) is_prime = is_prime && n % d != 0;
      if (!is_prime) continue;
      if (count < 8) initial[count] = root_fraction(n, false);
      round[count++] = root_fraction(n, true);
    }
  }
};

}  // namespace

std::string sha256(std::string_view data) {
  const Constants constants;
  std::string padded(data);
  padded.push_back('\x80');
  while (padded.size() % 64 != 56) padded.push_back('\0');
  for (int shift = 56; shift >= 0; shift -= 8)
    padded.push_back(static_cast<char>(uint64_t{data.size()} * 8 >> shift & 0xFF));
  std::array<uint32_t, 8> hash = constants.initial;
  for (size_t block = 0; block < padded.size(); block += 64) {
    std::array<uint32_t, 64> w{};
    for (size_t i = 0; i < 64; ++i) w[i / 4] = w[i / 4] << 8 | static_cast<uint8_t>(padded[block + i]);
    for (size_t i = 16; i < 64; ++i) {
      const uint32_t a = w[i - 15], b = w[i - 2];
      w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
             (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
    }
    std::array<uint32_t, 8> h = hash;
    for (size_t i = 0; i < 64; ++i) {
      const uint32_t s1 = std::rotr(h[4], 6) ^ std::rotr(h[4], 11) ^ std::rotr(h[4], 25);
      const uint32_t t1 = h[7] + s1 + ((h[4] & h[5]) ^ (~h[4] & h[6])) + constants.round[i] + w[i];
      const uint32_t s0 = std::rotr(h[0], 2) ^ std::rotr(h[0], 13) ^ std::rotr(h[0], 22);
      const uint32_t t2 = s0 + ((h[0] & h[1]) ^ (h[0] & h[2]) ^ (h[1] & h[2]));
      h = {t1 + t2, h[0], h[1], h[2], h[3] + t1, h[4], h[5], h[6]};
    }
    for (size_t i = 0; i < 8; ++i) hash[i] += h[i];
  }
  std::string hex;
  for (const uint32_t word : hash) {
    for (int shift = 28; shift >= 0; shift -= 4) hex.push_back("0123456789abcdef"[word >> shift & 15]);
  }
  return hex;
}

}  // namespace hfload::test
