#pragma once

// Tokens of JSON texts in their usual spelling. Each function reads at `at`, moves it on and returns true, or
// returns false. The text must be followed by kPlainPadding readable bytes, the first of them zero: as no
// token holds a zero, none is read past the end. All are inlined, so that `at` stays in a register.

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#define HFLOAD_INLINE [[gnu::always_inline]] inline

namespace hfload::plain {

inline constexpr size_t kPlainPadding = 64;

/// The next 8 bytes, the first of them the lowest (on little-endian machines, where alone these functions
/// work).
HFLOAD_INLINE uint64_t next8(const char* at) {
  uint64_t word = 0;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

/// What next8 gives for these 8 characters.
consteval uint64_t word_of(const char (&text)[9]) {
  uint64_t word = 0;
  for (unsigned i = 0; i < 8; ++i) word |= uint64_t{static_cast<uint8_t>(text[i])} << 8 * i;
  return word;
}

HFLOAD_INLINE bool take(const char*& at, char c) {
  if (*at != c) return false;
  ++at;
  return true;
}

HFLOAD_INLINE void skip_white_space(const char*& at) {
  while (static_cast<uint8_t>(*at) <= ' ' && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) ++at;
}

/// Takes `c` and the white space after it.
HFLOAD_INLINE bool skip(const char*& at, char c) {
  if (!take(at, c)) return false;
  skip_white_space(at);
  return true;
}

constexpr uint64_t in_each_byte(uint8_t byte) { return 0x0101010101010101u * byte; }

/// How many of the 8 bytes are decimal digits before the first that is none.
HFLOAD_INLINE unsigned leading_digits(uint64_t word) {
  // Carries and borrows reach only bytes after one that is no digit.
  const uint64_t others =
      ((word + in_each_byte(0x7F - '9')) | (word - in_each_byte('0'))) & in_each_byte(0x80);
  return static_cast<unsigned>(std::countr_zero(others)) / 8;
}

/// The number that the first `count` bytes stand for, 1 to 8 digits.
HFLOAD_INLINE uint64_t number_of_digits(uint64_t word, unsigned count) {
  // Bytes become digits with zeros before them, then neighbours are joined: to numbers below 100, 10^4, 10^8.
  const uint64_t digits = (word - in_each_byte('0')) << (64 - 8 * count);
  const uint64_t twos = (digits * (1 + (10 << 8)) >> 8) & 0x00FF00FF00FF00FF;
  const uint64_t fours = (twos * (1 + (100 << 16)) >> 16) & 0x0000FFFF0000FFFF;
  return fours * (1 + (uint64_t{10'000} << 32)) >> 32;
}

/// Reads an integer of at most 19 digits, which fit in 64 bits.
HFLOAD_INLINE bool read_number(const char*& at, uint64_t& number) {
  constexpr std::array<uint64_t, 9> kPowersOfTen = {1,       10,        100,        1'000,      10'000,
                                                    100'000, 1'000'000, 10'000'000, 100'000'000};
  uint64_t word = next8(at);
  unsigned digits = leading_digits(word);
  if (digits == 0 || (digits > 1 && *at == '0')) return false;
  number = number_of_digits(word, digits);
  at += digits;
  for (unsigned all_digits = digits; digits == 8; all_digits += digits) {
    word = next8(at);
    digits = leading_digits(word);
    if (digits == 0) break;
    if (all_digits + digits > 19) return false;
    number = number * kPowersOfTen[digits] + number_of_digits(word, digits);
    at += digits;
  }
  return true;
}

/// Goes on to the first quote, backslash or control character; sets `non_ascii` where there are such bytes
/// before it, and perhaps where there are some soon after.
HFLOAD_INLINE void find_string_end(const char*& at, bool& non_ascii) {
#ifdef __SSE2__
  for (;; at += 64) {
    uint64_t stops = 0;
    __m128i all = _mm_setzero_si128();
    for (size_t i = 0; i < 4; ++i) {
      const __m128i chars = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at + 16 * i));
      const __m128i controls = _mm_cmpeq_epi8(_mm_min_epu8(chars, _mm_set1_epi8(0x1F)), chars);
      const __m128i ends =
          _mm_or_si128(_mm_cmpeq_epi8(chars, _mm_set1_epi8('"')), _mm_cmpeq_epi8(chars, _mm_set1_epi8('\\')));
      const auto mask = static_cast<uint16_t>(_mm_movemask_epi8(_mm_or_si128(controls, ends)));
      stops |= uint64_t{mask} << 16 * i;
      all = _mm_or_si128(all, chars);
    }
    non_ascii |= _mm_movemask_epi8(all) != 0;
    if (stops == 0) continue;
    at += std::countr_zero(stops);
    return;
  }
#else
  for (; *at != '"' && *at != '\\' && static_cast<uint8_t>(*at) >= 0x20; ++at)
    non_ascii |= static_cast<uint8_t>(*at) >= 0x80;
#endif
}

/// Reads a string without escapes.
HFLOAD_INLINE bool read_string(const char*& at, std::string_view& string, bool& non_ascii) {
  if (!take(at, '"')) return false;
  const char* const begin = at;
  find_string_end(at, non_ascii);
  string = {begin, static_cast<size_t>(at - begin)};
  return take(at, '"');
}

}  // namespace hfload::plain
