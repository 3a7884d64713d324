#include "cli/json_writer.h"

#include <catch2/catch.hpp>

namespace hfload::cli {
namespace {

using namespace std::string_view_literals;

std::string string_of(std::string_view text) {
  std::string json = JsonWriter().string(text).take();
  json.pop_back();
  return json;
}

TEST_CASE("JSON documents are indented and separated") {
  JsonWriter json;
  json.begin_object().key("none").begin_array().end_array().key("empty").begin_object().end_object();
  json.key("list").begin_array().number(1).string("two").null().boolean(false).end_array();
  const uint64_t shape[] = {2, 3};
  json.key("shape").numbers(shape).key("seconds").seconds(0.25).end_object();
  CHECK(json.take() ==
        "{\n  \"none\": [],\n  \"empty\": {},\n  \"list\": [\n    1,\n    \"two\",\n    null,\n    false\n  "
        "],\n"
        "  \"shape\": [2, 3],\n  \"seconds\": 0.250000\n}\n");
}

TEST_CASE("a JSON document on one line is as Python writes it") {
  JsonWriter json(JsonLayout::one_line);
  json.begin_object().key("none").begin_array().end_array().key("text").string("a\nb");
  json.key("list")
      .begin_array()
      .number(1)
      .begin_object()
      .key("a")
      .null()
      .end_object()
      .end_array()
      .end_object();
  CHECK(json.take() == "{\"none\": [], \"text\": \"a\\nb\", \"list\": [1, {\"a\": null}]}\n");
}

TEST_CASE("JSON integers are exact to 64 bits") {
  CHECK(JsonWriter().number(UINT64_MAX).take() == "18446744073709551615\n");
  CHECK(JsonWriter().number((uint64_t{1} << 53) + 1).take() == "9007199254740993\n");
}

TEST_CASE("JSON strings are valid and steer no terminal") {
  CHECK(string_of("plain \"quoted\" back\\slash / äöü") == R"("plain \"quoted\" back\\slash / äöü")");
  CHECK(string_of("\n\r\t\b\f\0"sv) == R"("\n\u000d\u0009\u0008\u000c\u0000")");
  CHECK(string_of("\x1b[0m\x7f\xC2\x9B\u202E") == R"("\u001b[0m\u007f\u009b\u202e")");
  CHECK(string_of("\U0001F600") == "\"\U0001F600\"");
  CHECK(string_of("\U000E0041") == R"("\udb40\udc41")");
  CHECK(string_of("a\xFF\xC3z"sv) == R"("a\ufffd\ufffdz")");
}

}  // namespace
}  // namespace hfload::cli
