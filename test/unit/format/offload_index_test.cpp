#include "core/format/offload_index.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"

namespace hfload {
namespace {

// What Python 3.11 prints for the same dictionary: json.dumps(entries, indent=2).
constexpr std::string_view kPython =
    "{\n  \"\\u00e9\\ud83d\\ude00\\u007f\\u2028\\\"quoted\\\\ \\n\\t\\u0001/\": {\n    \"dtype\": "
    "\"float32\",\n    "
    "\"shape\": [\n      2,\n      1\n    ]\n  },\n  \"s\": {\n    \"dtype\": \"bfloat16\",\n    \"shape\": "
    "[]\n  "
    "},\n  \"p\": {\n    \"safetensors_file\": \"/a/b\",\n    \"weight_name\": \"q\",\n    \"dtype\": "
    "\"int64\"\n  }\n}";

std::vector<OffloadEntry> entries() {
  return {{"\u00e9\U0001f600\x7f\u2028\"quoted\\ \n\t\x01/", "float32", {2, 1}, "", ""},
          {"s", "bfloat16", {}, "", ""},
          {"p", "int64", {}, "/a/b", "q"}};
}

std::vector<OffloadEntry> parse(std::string_view json) {
  std::vector<OffloadEntry> parsed;
  parse_offload_index(json, [&](OffloadEntry entry) { parsed.push_back(std::move(entry)); });
  return parsed;
}

/// What comes of reading the text by pieces, as text: the entries, or the error.
std::string outcome(std::string_view json, size_t piece_bytes) {
  std::string text;
  try {
    parse_offload_index(
        json, [&](const OffloadEntry& entry) { text += entry.name + "," + entry.weight_name + ";"; },
        piece_bytes);
  } catch (const Error& error) {
    text = std::to_string(static_cast<int>(error.code())) + " " + error.message() + " " + error.tensor() +
           " " + std::to_string(error.offset().value_or(0));
  }
  return text;
}

std::string format(const std::vector<OffloadEntry>& entries) {
  std::string text;
  const TextSink sink = [&](std::string_view part) { text += part; };
  OffloadIndexWriter writer(sink);
  for (const OffloadEntry& entry : entries) writer.add(entry);
  writer.finish();
  return text;
}

TEST_CASE("An offload index is written as Python writes it, and read again") {
  CHECK(format(entries()) == kPython);
  CHECK(parse(kPython) == entries());
  CHECK(format({}) == "{}");
  CHECK(parse("{}").empty());
}

TEST_CASE("An index is the same in pieces as in one") {
  const std::string a = R"("a":{"safetensors_file":"f,}{][","weight_name":"x\"\\"})";
  const std::string b = R"("b":{"dtype":"x","shape":[1,2]})";
  std::vector<std::string> texts{std::string(kPython), "{}", " { } ", "", " ", "[]", "1", "{", "}", "{]"};
  for (const char* joint : {",", " ,\n", ",,", "", ":", "},", "],", "},{", ", {", ",\"", ",[]"}) {
    for (const char* end : {"}", " }\n", ",}", "}}", "}]", "", "} x", "},"}) {
      for (const char* begin : {"{", " {", "{,", "{{", "[{", "", "\xef\xbb\xbf{"})
        texts.push_back(begin + a + joint + b + end);
    }
  }
  texts.push_back("{" + a + "," + b + "," + a + "}");
  texts.push_back("{" + a + "," + R"("\u0061":{"safetensors_file":"f"}})");
  texts.push_back("{" + a + R"(,"\u00zz":1,"c":{"safetensors_file":"f"}})");
  texts.push_back("{" + a + ",\"\xff\":1," + b + "}");
  size_t accepted = 0;
  for (const std::string& text : texts) {
    INFO(text);
    const std::string whole = outcome(text, text.size() + 1);
    accepted += whole.ends_with(';') ? 1 : 0;
    for (size_t piece_bytes = 1; piece_bytes <= text.size(); ++piece_bytes) {
      INFO("pieces of " << piece_bytes);
      CHECK(outcome(text, piece_bytes) == whole);
    }
  }
  CHECK(accepted > 5);
  CHECK(accepted < texts.size() / 2);
}

TEST_CASE("Bytes of a path that are no UTF-8 are written as Python's file names have them") {
  // os.fsdecode(b"/a\xff/\xc3/\xed\xa0\x80\xf5") in json.dumps.
  const std::vector<OffloadEntry> odd{{"p", "", {}, "/a\xff/\xc3/\xed\xa0\x80\xf5", ""}};
  CHECK(format(odd).find(R"("/a\udcff/\udcc3/\udced\udca0\udc80\udcf5")") != std::string::npos);
}

TEST_CASE("In place, dtype and weight_name may be absent") {
  const std::vector<OffloadEntry> read = parse(R"({"a": {"safetensors_file": "f"}})");
  CHECK(read == std::vector<OffloadEntry>{{"a", "", {}, "f", ""}});
}

TEST_CASE("Entries of another form are refused with the tensor's name") {
  for (const std::string entry :
       {"1", "null", "[]", "{}", R"({"dtype":"float16"})", R"({"shape":[1]})", R"({"dtype":1,"shape":[1]})",
        R"({"dtype":"x","shape":1})", R"({"dtype":"x","shape":["1"]})",
        R"({"dtype":"x","shape":[1],"more":0})", R"({"safetensors_file":"f","shape":[1]})",
        R"({"safetensors_file":"","dtype":"x"})"}) {
    INFO(entry);
    try {
      parse("{\"the.tensor\":" + entry + "}");
      FAIL_CHECK("accepted");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::invalid_offload_index);
      CHECK(error.tensor() == "the.tensor");
    }
  }
  CHECK_THROWS_AS(parse("[]"), Error);
  CHECK_THROWS_AS(parse(R"({"a":{"dtype":"x","shape":[1.5]}})"), Error);
  CHECK_THROWS_AS(parse(R"({"a":{"safetensors_file":"f"},"a":{"safetensors_file":"f"}})"), Error);
}

}  // namespace
}  // namespace hfload
