#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/text_sink.h"

namespace hfload::cli {

/// One code point of a UTF-8 text and the bytes that it takes.
struct CodePoint {
  uint32_t value = 0;
  uint8_t bytes = 1;
  bool valid = false;  ///< false: the byte at this place starts no well-formed sequence; `value` is that byte
};

/// Decodes the code point that starts at `text[at]` (RFC 3629: no overlong forms, no surrogates).
CodePoint decode_utf8(std::string_view text, size_t at);

/// True for code points that steer a terminal or reorder and hide text: C0 and C1 controls, DEL, the line
/// separators, and the invisible and bidirectional format marks.
bool is_unsafe_to_print(uint32_t code_point);

/// A name from a file or the command line made safe to print: what is_unsafe_to_print, and bytes that are no
/// UTF-8, become \n, \xNN or \uNNNN as Python's repr writes them. Everything else stays.
std::string escape_text(std::string_view text);

/// As escape_text, for a text of several lines: line feeds stay.
std::string escape_lines(std::string_view text);

/// Terminal columns that an escaped text takes, one per code point.
size_t display_width(std::string_view text);

/// "11,135,426,560".
std::string group_digits(uint64_t number);

/// "11.1 B": thousands (K), millions (M), billions (B), trillions (T), three significant digits.
std::string short_count(uint64_t number);

/// "1 shard", "3 shards".
std::string count_of(uint64_t number, std::string_view singular);

/// "[4096, 11008]".
std::string format_shape(std::span<const uint64_t> shape);

/// "decoder.block." and 12 of "decoder.block.12"; nothing for a name that does not end in a number.
std::optional<std::pair<std::string, uint64_t>> split_number(const std::string& name);

/// Breaks a text at spaces into lines of at most `width` columns; a longer word stands alone on its line.
std::vector<std::string> wrap_text(std::string_view text, size_t width);

/// The most similar of `candidates` to a mistyped `word`; empty when none is near (Damerau-Levenshtein
/// distance).
std::string_view did_you_mean(std::string_view word, std::span<const std::string_view> candidates);

/// Rows of cells that are printed in aligned columns, two spaces apart, without trailing spaces.
class TextTable {
 public:
  enum class Align : uint8_t { left, right };

  explicit TextTable(std::vector<Align> columns, size_t indent = 0)
      : columns_(std::move(columns)), indent_(indent) {}
  void add_row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.empty(); }
  /// Each row ends in a line feed. The widths of later columns never depend on the last one.
  std::string render() const;

  using RowSink = std::function<void(const std::vector<std::string>& cells)>;
  /// Writes a table that may have 100,000 rows, none of which is kept: `make_rows` passes them on and is
  /// called twice, to find the widths of the columns and to write.
  static void write(const std::vector<Align>& columns, size_t indent,
                    const std::function<void(const RowSink&)>& make_rows, const TextSink& sink);

 private:
  std::vector<Align> columns_;
  size_t indent_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace hfload::cli
