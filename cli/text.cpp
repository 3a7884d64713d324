#include "cli/text.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "core/base/join.h"

namespace hfload::cli {
namespace {

std::string escape(std::string_view text, bool keep_line_feeds) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = decode_utf8(text, at);
    const uint32_t value = point.value;
    if (point.valid && (!is_unsafe_to_print(value) || (keep_line_feeds && value == '\n'))) {
      out += text.substr(at, point.bytes);
    } else if (value == '\n') {
      out += "\\n";
    } else if (value == '\r') {
      out += "\\r";
    } else if (value == '\t') {
      out += "\\t";
    } else if (value < 0x100) {
      out += fmt::format("\\x{:02x}", value);
    } else if (value < 0x10000) {
      out += fmt::format("\\u{:04x}", value);
    } else {
      out += fmt::format("\\U{:08x}", value);
    }
    at += point.bytes;
  }
  return out;
}

/// Damerau-Levenshtein distance, optimal string alignment: a swap of neighbours counts one.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) last[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replaced, last[j] + 1, row[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, last);
    std::swap(last, row);
  }
  return last[b.size()];
}

}  // namespace

CodePoint decode_utf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const uint32_t first = byte(0);
  if (first < 0x80) return {first, 1, true};
  const uint8_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || at + length > text.size()) return {first, 1, false};
  uint32_t value = first & (0xFFU >> (length + 1));
  for (uint8_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {first, 1, false};
    value = value << 6 | (byte(i) & 0x3F);
  }
  constexpr std::array<uint32_t, 5> kSmallest{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < kSmallest[length] || value > 0x10FFFF || surrogate) return {first, 1, false};
  return {value, length, true};
}

bool is_unsafe_to_print(uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0x9F) || c == 0xAD || c == 0x61C || (c >= 0x200B && c <= 0x200F) ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF ||
         (c >= 0xFFF9 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE007F);
}

std::string escape_text(std::string_view text) { return escape(text, false); }
std::string escape_lines(std::string_view text) { return escape(text, true); }

size_t display_width(std::string_view text) {
  size_t width = 0;
  for (size_t at = 0; at < text.size(); at += decode_utf8(text, at).bytes) ++width;
  return width;
}

std::string group_digits(uint64_t number) {
  const std::string digits = std::to_string(number);
  std::string grouped;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) grouped += ',';
    grouped += digits[i];
  }
  return grouped;
}

std::string short_count(uint64_t number) {
  if (number < 1000) return std::to_string(number);
  double value = static_cast<double>(number);
  size_t unit = 0;
  constexpr std::string_view kUnits = " KMBT";
  // 999.5 would be printed as "1000" by three significant digits.
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, decimals, kUnits[unit]);
}

std::string count_of(uint64_t number, std::string_view singular) {
  return fmt::format("{} {}{}", group_digits(number), singular, number == 1 ? "" : "s");
}

std::string format_shape(std::span<const uint64_t> shape) { return fmt::format("[{}]", join(shape, ", ")); }

std::optional<std::pair<std::string, uint64_t>> split_number(const std::string& name) {
  const size_t begin = name.rfind('.') + 1;
  uint64_t number = 0;
  const char* end = name.data() + name.size();
  const auto [parsed, fault] = std::from_chars(name.data() + begin, end, number);
  if (fault != std::errc() || parsed != end) return std::nullopt;
  return std::pair(name.substr(0, begin), number);
}

std::vector<std::string> wrap_text(std::string_view text, size_t width) {
  std::vector<std::string> lines;
  std::string line;
  for (size_t at = 0; at < text.size();) {
    const size_t space = std::min(text.find(' ', at), text.size());
    const std::string_view word = text.substr(at, space - at);
    if (!line.empty() && display_width(line) + 1 + display_width(word) > width) {
      lines.push_back(std::move(line));
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += word;
    at = space + 1;
  }
  if (!line.empty()) lines.push_back(std::move(line));
  return lines;
}

std::string_view did_you_mean(std::string_view word, std::span<const std::string_view> candidates) {
  constexpr size_t kLongestTypo = 64;
  if (word.size() > kLongestTypo) return {};
  std::string_view best;
  size_t best_distance = std::max<size_t>(1, word.size() / 3) + 1;
  for (const std::string_view candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    if (distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string TextTable::render() const {
  std::string out;
  const auto make_rows = [&](const RowSink& row) {
    for (const auto& cells : rows_) row(cells);
  };
  write(columns_, indent_, make_rows, [&](std::string_view part) { out += part; });
  return out;
}

void TextTable::write(const std::vector<Align>& columns, size_t indent,
                      const std::function<void(const RowSink&)>& make_rows, const TextSink& sink) {
  std::vector<size_t> widths(columns.size());
  make_rows([&](const std::vector<std::string>& row) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], display_width(row[i]));
  });
  BufferedText out(sink);
  make_rows([&](const std::vector<std::string>& row) {
    std::string line(indent, ' ');
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - display_width(row[i]), ' ');
      if (i > 0) line += "  ";
      line += columns[i] == Align::right ? padding + row[i] : row[i] + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out.text().append(line).append(1, '\n');
  });
  out.flush();
}

}  // namespace hfload::cli
