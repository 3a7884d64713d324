#include "cli/text.h"

#include <array>
#include <catch2/catch.hpp>
#include <string>

namespace hfload::cli {
namespace {

using namespace std::string_view_literals;

TEST_CASE("UTF-8 is decoded by RFC 3629") {
  struct Row {
    std::string_view bytes;
    uint32_t value;
  };
  // The smallest and largest code points of each length.
  for (const Row& row :
       {Row{"\0"sv, 0}, Row{"\x7F", 0x7F}, Row{"\xC2\x80", 0x80}, Row{"\xDF\xBF", 0x7FF},
        Row{"\xE0\xA0\x80", 0x800}, Row{"\xED\x9F\xBF", 0xD7FF}, Row{"\xEE\x80\x80", 0xE000},
        Row{"\xEF\xBF\xBF", 0xFFFF}, Row{"\xF0\x90\x80\x80", 0x10000}, Row{"\xF4\x8F\xBF\xBF", 0x10FFFF}}) {
    const CodePoint point = decode_utf8(row.bytes, 0);
    CHECK(point.valid);
    CHECK(point.value == row.value);
    CHECK(point.bytes == row.bytes.size());
  }
  // Lone continuation, overlong forms, surrogates, beyond U+10FFFF, cut off, wrong continuation.
  for (const std::string_view bytes :
       {"\x80"sv, "\xC0\x80"sv, "\xC1\xBF"sv, "\xE0\x9F\xBF"sv, "\xF0\x8F\xBF\xBF"sv, "\xED\xA0\x80"sv,
        "\xED\xBF\xBF"sv, "\xF4\x90\x80\x80"sv, "\xF5\x80\x80\x80"sv, "\xFF"sv, "\xE2\x82"sv, "\xC3("sv,
        "\xE2\x82("sv}) {
    const CodePoint point = decode_utf8(bytes, 0);
    CHECK_FALSE(point.valid);
    CHECK(point.bytes == 1);
  }
}

TEST_CASE("What steers a terminal is escaped, everything else stays") {
  CHECK(escape_text("model.layers.0.weight") == "model.layers.0.weight");
  CHECK(escape_text("Gewichte äöü 重み \U0001F600") == "Gewichte äöü 重み \U0001F600");
  CHECK(escape_text("a\x1b[2Jb\a\r\n\t\x7f"sv) == "a\\x1b[2Jb\\x07\\r\\n\\t\\x7f");
  CHECK(escape_text("\xC2\x9B"sv) == "\\x9b");  // C1: CSI in one code point
  CHECK(escape_text("a\u202Eb\u2066c\u200B") == "a\\u202eb\\u2066c\\u200b");
  CHECK(escape_text("\U000E0041") == "\\U000e0041");
  CHECK(escape_text("\xff\xfe"sv) == "\\xff\\xfe");  // no UTF-8
  CHECK(escape_text("nul\0inside"sv) == "nul\\x00inside");
  CHECK(escape_lines("one\ntwo\r\n") == "one\ntwo\\r\n");
}

TEST_CASE("Numbers for people") {
  CHECK(group_digits(0) == "0");
  CHECK(group_digits(999) == "999");
  CHECK(group_digits(1000) == "1,000");
  CHECK(group_digits(UINT64_MAX) == "18,446,744,073,709,551,615");
  CHECK(short_count(0) == "0");
  CHECK(short_count(999) == "999");
  CHECK(short_count(1000) == "1.00 K");
  CHECK(short_count(9994) == "9.99 K");
  CHECK(short_count(9996) == "10.0 K");
  CHECK(short_count(99'940) == "99.9 K");
  CHECK(short_count(99'960) == "100 K");
  CHECK(short_count(999'499) == "999 K");
  CHECK(short_count(999'500) == "1.00 M");
  CHECK(short_count(7'241'732'096) == "7.24 B");
  CHECK(short_count(1'058'588'000'000) == "1.06 T");
  CHECK(count_of(1, "shard") == "1 shard");
  CHECK(count_of(0, "shard") == "0 shards");
}

TEST_CASE("A near word is suggested and a far one is not") {
  const std::array<std::string_view, 3> words{"inspect", "plan", "load"};
  CHECK(did_you_mean("isnpect", words) == "inspect");
  CHECK(did_you_mean("plam", words) == "plan");
  CHECK(did_you_mean("laod", words) == "load");
  CHECK(did_you_mean("frobnicate", words).empty());
  CHECK(did_you_mean(std::string(1 << 20, 'x'), words).empty());
}

TEST_CASE("Tables align by columns and leave no trailing spaces") {
  TextTable table({TextTable::Align::left, TextTable::Align::right, TextTable::Align::left}, 1);
  table.add_row({"a", "1", "x"});
  table.add_row({"äöü", "100", ""});
  CHECK(table.render() == " a      1  x\n äöü  100\n");
}

TEST_CASE("Text is wrapped at spaces") {
  CHECK(wrap_text("one two three", 7) == std::vector<std::string>{"one two", "three"});
  CHECK(wrap_text("unbreakable word", 4) == std::vector<std::string>{"unbreakable", "word"});
  CHECK(wrap_text("", 4).empty());
}

}  // namespace
}  // namespace hfload::cli
