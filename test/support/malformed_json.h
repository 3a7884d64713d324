#pragma once

#include <string>
#include <string_view>

#include "core/base/error.h"

namespace hfload::test {

inline std::string repeat(std::string_view text, size_t count) {
  std::string repeated;
  repeated.reserve(text.size() * count);
  for (size_t i = 0; i < count; ++i) repeated += text;
  return repeated;
}

/// Faults of JSON that every parser must find, in the notation of malformed_corpus.cpp (^ stands before the
/// fault). `object` is given members of an object in which nothing is required, with `object_depth` levels
/// open around them; `text` a whole text, with `text_depth` levels open around it.
template <class AddObject, class AddText>
void add_json_faults(size_t object_depth, AddObject&& object, size_t text_depth, AddText&& text) {
  using enum ErrorCode;
  text("json-not-utf8", invalid_utf8, "^\xff");
  object("json-overlong-utf8", invalid_utf8, "\"^\xc0\xaf\":0");
  object("json-overlong-utf8-3", invalid_utf8, "\"^\xe0\x80\x80\":0");
  object("json-utf8-surrogate", invalid_utf8, "\"^\xed\xa0\x80\":0");
  object("json-utf8-above-10ffff", invalid_utf8, "\"^\xf4\x90\x80\x80\":0");
  object("json-utf8-truncated", invalid_utf8, "\"^\xe2\x82\":0");
  object("json-utf8-lone-tail", invalid_utf8, "\"ok^\x80\":0");
  object(
      "json-utf8-bad-after-good", invalid_utf8,
      "\"\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf^\xc2\":0");
  text("json-empty", invalid_json, "^");
  text("json-only-spaces", invalid_json, "^        ");
  text("json-open-brace", invalid_json, "{^");
  text("json-two-braces-open", invalid_json, R"({"x":{}^)");
  text("json-ends-after-key", invalid_json, R"({"x"^)");
  text("json-ends-after-colon", invalid_json, R"({"x":^)");
  text("json-ends-after-comma", invalid_json, R"({"x":{},^)");
  text("json-null-root", invalid_json, "^null");
  text("json-string-root", invalid_json, R"(^"a")");
  text("json-number-root", invalid_json, "^1");
  text("json-word-after", invalid_json, "{}^x");
  text("json-brace-after", invalid_json, "{}^}");
  text("json-comma-after", invalid_json, "{}^,");
  text("json-nul-after", invalid_json, std::string("{}^\0", 4));
  text("json-nul-padding", invalid_json, std::string("{}^\0\0\0\0\0\0", 9));
  text("json-nul-before", invalid_json, std::string("^\0{}", 4));
  text("json-two-documents", invalid_json, "{} ^{}");
  text("json-byte-order-mark", invalid_json, "^\xef\xbb\xbf{}");
  object("json-raw-newline", invalid_json, "\"a^\nb\":0");
  object("json-raw-escape-character", invalid_json, "\"a^\x1b[2J\":0");
  object("json-raw-newline-after-escaped-quote", invalid_json, "\n\"x\":0,\n\"a\\\"^\nb\":0");
  object("json-raw-nul", invalid_json, std::string("\"a^\0b\":0", 8));
  object("json-lone-high-surrogate", invalid_json, R"(^"\ud800":0)");
  object("json-lone-high-surrogate-before-text", invalid_json, R"(^"\ud800x":0)");
  object("json-lone-low-surrogate", invalid_json, R"(^"\udc00":0)");
  object("json-swapped-surrogates", invalid_json, R"(^"\udc00\ud800":0)");
  object("json-two-high-surrogates", invalid_json, R"(^"\ud800\ud800":0)");
  object("json-lone-surrogate-in-value", invalid_json, R"("x":^"\udfff")");
  object("json-unknown-escape", invalid_json, R"(^"\x41":0)");
  object("json-short-unicode-escape", invalid_json, R"(^"\u12":0)");
  object("json-bad-unicode-escape", invalid_json, R"(^"\u12g4":0)");
  text("json-string-not-closed", invalid_json, R"({^"x})");
  object("json-no-colon", invalid_json, R"("x"^0)");
  object("json-no-comma", invalid_json, R"("x":0 ^"y":0)");
  object("json-two-commas", invalid_json, R"("x":0,^,"y":0)");
  object("json-comma-first", invalid_json, R"(^,"x":0)");
  object("json-trailing-comma", invalid_json, R"("x":{"y":0,^})");
  object("json-trailing-comma-in-array", invalid_json, R"("x":[0,^])");
  object("json-bare-key", invalid_json, "^x:0");
  object("json-number-key", invalid_json, "^1:0");
  object("json-single-quotes", invalid_json, "^'x':0");
  object("json-comment", invalid_json, R"("x":^/* no */0)");
  object("json-array-closed-by-brace", invalid_json, R"("x":[0^})");
  object("json-object-closed-by-bracket", invalid_json, R"("x":{"y":0^])");
  object("json-python-true", invalid_json, R"("x":^True)");
  object("json-word-too-long", invalid_json, R"("x":^nullx)");
  object("json-word-too-short", invalid_json, R"("x":^tru)");
  object("json-number-leading-zero", invalid_number, R"("x":^01)");
  object("json-number-plus", invalid_json, R"("x":^+1)");
  object("json-number-hexadecimal", invalid_number, R"("x":^0x10)");
  object("json-number-no-fraction", invalid_number, R"("x":^1.)");
  object("json-number-no-integer", invalid_json, R"("x":^.5)");
  object("json-number-no-exponent", invalid_number, R"("x":^1e)");
  object("json-number-two-points", invalid_number, R"("x":^1.2.3)");
  object("json-number-minus-alone", invalid_number, R"("x":^-)");
  object("json-infinity-misspelt", invalid_json, R"("x":^Infinit)");
  text("json-deep-arrays", json_too_deep,
       R"({"x":)" + repeat("[", 127 - text_depth) + "^" + repeat("[", 1'000'000));
  text("json-deep-objects", json_too_deep,
       repeat(R"({"x":)", 128 - text_depth) + "^" + repeat(R"({"x":)", 200'000));
  const size_t levels = 128 - object_depth;
  object("json-depth-129", json_too_deep, R"("x":)" + repeat("[", levels) + "^[" + repeat("]", levels + 1));
  object("json-duplicate-nested", duplicate_key, R"("x":{"y":0,^"y":0})");
  object("json-duplicate-in-array", duplicate_key, R"("x":[{"y":0,"z":[],^"y":0}])");
  object("json-duplicate-escaped", duplicate_key, R"("x":{"a":0,^"\u0061":0})");
  object("json-duplicate-empty", duplicate_key, R"("x":{"":0,^"":0})");
}

}  // namespace hfload::test
