#include "core/base/units.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>

#include "core/base/error.h"

namespace hfload {
namespace {

struct Unit {
  std::string_view suffix;  ///< lower case
  double bytes;
  bool decimal;
};

constexpr Unit kUnits[] = {
    {"gib", 1024.0 * 1024 * 1024, false},
    {"mib", 1024.0 * 1024, false},
    {"kib", 1024, false},
    {"gb", 1e9, true},
    {"mb", 1e6, true},
    {"kb", 1e3, true},
};

constexpr double kTwoTo64 = 18446744073709551616.0;

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// What Python's str.strip() removes, as far as it is ASCII.
bool is_python_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1c' && c <= '\x1f'); }

std::string_view strip(std::string_view text) {
  while (!text.empty() && is_python_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_python_space(text.back())) text.remove_suffix(1);
  return text;
}

bool ends_with_unit(std::string_view text, std::string_view suffix) {
  if (text.size() < suffix.size()) return false;
  const std::string_view tail = text.substr(text.size() - suffix.size());
  for (size_t i = 0; i < suffix.size(); ++i) {
    if (to_lower(tail[i]) != suffix[i]) return false;
  }
  return true;
}

/// Removes the underscores that Python allows between two digits; nothing where one stands elsewhere.
std::optional<std::string> drop_underscores(std::string_view text) {
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      digits.push_back(text[i]);
    } else if (i == 0 || i + 1 == text.size() || !is_digit(text[i - 1]) || !is_digit(text[i + 1])) {
      return std::nullopt;
    }
  }
  return digits;
}

/// As Python's float(), of which std::from_chars lacks the sign +, the underscores and the surrounding
/// spaces. Infinities and NaN are left out, as they are no size.
std::optional<double> parse_python_float(std::string_view text) {
  const std::optional<std::string> digits = drop_underscores(strip(text));
  if (!digits) return std::nullopt;
  std::string_view number = *digits;
  if (number.starts_with('+')) {
    number.remove_prefix(1);
    if (number.starts_with('-')) return std::nullopt;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc() || end != number.data() + number.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

std::optional<uint64_t> parse_whole_number(std::string_view text) {
  text = strip(text);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<uint64_t> parse_with_unit(std::string_view text) {
  for (const Unit& unit : kUnits) {
    if (!ends_with_unit(text, unit.suffix)) continue;
    const std::optional<double> number = parse_python_float(text.substr(0, text.size() - unit.suffix.size()));
    if (!number) return std::nullopt;
    const double units = std::trunc(*number * unit.bytes);
    if (units < 0 || units >= kTwoTo64) return std::nullopt;
    const auto whole = static_cast<uint64_t>(units);
    return unit.decimal && text.back() == 'b' ? whole / 8 : whole;
  }
  return parse_whole_number(text);
}

/// The letters at the end of a size, where they are none of the units: "TB" of "1TB".
std::string_view unknown_unit(std::string_view text) {
  text = strip(text);
  const auto is_letter = [](char c) { return to_lower(c) >= 'a' && to_lower(c) <= 'z'; };
  size_t begin = text.size();
  while (begin > 0 && is_letter(text[begin - 1])) --begin;
  const std::string_view unit = text.substr(begin);
  const bool is_known = std::ranges::any_of(kUnits, [&](const Unit& known) {
    return unit.size() == known.suffix.size() && ends_with_unit(unit, known.suffix);
  });
  return is_known ? std::string_view() : unit;
}

}  // namespace

uint64_t parse_byte_size(std::string_view text) {
  if (const std::optional<uint64_t> bytes = parse_with_unit(text)) return *bytes;
  const std::string_view unit = unknown_unit(text);
  throw Error(ErrorCode::invalid_size, fmt::format("\"{}\" is not a size in bytes", text))
      .with_hint(fmt::format(
          "{}Give a number with a unit: GiB, MiB or KiB (powers of 1024), GB, MB or KB (powers of 1000).",
          unit.empty() ? "" : fmt::format("{} is not a unit of accelerate. ", unit)));
}

bool counts_bits(std::string_view text) {
  return std::ranges::any_of(kUnits, [&](const Unit& unit) {
    return unit.decimal && ends_with_unit(text, unit.suffix) && text.back() == 'b';
  });
}

std::string format_byte_size(double bytes) {
  constexpr std::array<std::string_view, 7> kNames = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  size_t unit = 0;
  // 1023.5 would be printed as 1024 of the smaller unit.
  while (unit + 1 < kNames.size() && std::abs(bytes) >= 1023.5) {
    bytes /= 1024;
    ++unit;
  }
  if (unit == 0 && bytes == std::trunc(bytes)) return fmt::format("{:.0f} B", bytes);
  const double magnitude = std::abs(bytes);
  const int decimals = magnitude < 9.995 ? 2 : magnitude < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", bytes, decimals, kNames[unit]);
}

}  // namespace hfload
