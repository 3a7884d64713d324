#include "core/format/safetensors_plain.h"

#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "core/base/error.h"
#include "core/format/json.h"
#include "core/format/safetensors_any.h"
#include "test/support/checkpoint_builder.h"
#include "test/support/fixtures.h"
#include "test/support/header_equality.h"
#include "test/support/malformed_corpus.h"

namespace hfload {
namespace {

using test::CheckpointBuilder;

std::optional<SafetensorsHeader> plain(std::string_view header, uint64_t file_bytes,
                                       size_t window_bytes = kHeaderWindowBytes) {
  auto rest = std::as_bytes(std::span(header));
  const auto read_next = [&](std::span<std::byte> into) {
    REQUIRE(!into.empty());
    REQUIRE(into.size() <= rest.size());
    std::ranges::copy(rest.first(into.size()), into.begin());
    rest = rest.subspan(into.size());
  };
  return read_plain_header(header.size(), file_bytes, read_next, window_bytes);
}

std::optional<SafetensorsHeader> any(std::string_view header, uint64_t file_bytes) {
  try {
    return read_any_header(json::padded_copy(header), file_bytes);
  } catch (const Error&) {
    return std::nullopt;
  }
}

/// What the plain reader reads must be what the other reads; whether it reads it.
bool agrees(std::string_view header, uint64_t file_bytes) {
  const std::optional<SafetensorsHeader> fast = plain(header, file_bytes);
  if (!fast) return false;
  CAPTURE(header);
  const std::optional<SafetensorsHeader> slow = any(header, file_bytes);
  REQUIRE(slow);
  REQUIRE(test::is_same(*fast, *slow));
  return true;
}

/// Of a header that both readers accept, for a file with exactly its data.
void check_read(const std::string& header, uint64_t data_bytes) {
  CAPTURE(header);
  CHECK(agrees(header, 8 + header.size() + data_bytes));
}

/// Of a header that is left to the other reader.
void check_left(const std::string& header, uint64_t data_bytes, bool is_valid) {
  CAPTURE(header);
  CHECK_FALSE(agrees(header, 8 + header.size() + data_bytes));
  CHECK(any(header, 8 + header.size() + data_bytes).has_value() == is_valid);
}

std::string header_of(std::string_view file) {
  return std::string(
      file.substr(8, parse_safetensors_header_length(std::as_bytes(std::span(file).first(8)), file.size())));
}

TEST_CASE("Headers that Python's package wrote are plain, and both readers read the same") {
  size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(test::fixture_path(""))) {
    if (entry.path().extension() != ".safetensors") continue;
    CAPTURE(entry.path().string());
    const std::string file = test::read_file(entry.path().string());
    CHECK(agrees(header_of(file), file.size()));
    ++files;
  }
  CHECK(files >= 20);
}

TEST_CASE("The window does not change what is read") {
  const std::string header =
      R"({"__metadata__": {"k":"v"} , "a.b":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]},)"
      R"( "c":{"shape":[123456789,0],"dtype":"F32","data_offsets":[12,12]} ,)"
      "\n\"\xc3\xa9\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[12, 13]} }   \n   ";
  const uint64_t file_bytes = 8 + header.size() + 13;
  const std::optional<SafetensorsHeader> whole = any(header, file_bytes);
  REQUIRE(whole);
  // The longest member, with the white space before it and the comma after it.
  constexpr size_t kLongest = 67;
  for (size_t window = 1; window < 2 * header.size(); ++window) {
    CAPTURE(window);
    const std::optional<SafetensorsHeader> read = plain(header, file_bytes, window);
    if (window >= kLongest) CHECK(read);
    if (read) CHECK(test::is_same(*read, *whole));
    std::string broken = header;
    broken[header.find("\xa9")] = 'a';
    CHECK_FALSE(plain(broken, file_bytes, window));
    CHECK_FALSE(plain(header + "x", file_bytes + 1, window));
  }
}

/// An entry named `a` with these members.
std::string entry(std::string_view members) { return fmt::format(R"({{"a":{{{}}}}})", members); }

TEST_CASE("Headers that are plain") {
  check_read("{}", 0);
  check_read("{ }  \t\r\n ", 0);
  check_read(R"({"__metadata__":{}})", 0);
  check_read("{\"__metadata__\":{\"format\":\"pt\",\"\":\"\",\"k\":\"v \xc3\xa9\"}}", 0);
  for (const std::string_view dtype : {"U8", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "BOOL"}) {
    check_read(entry(fmt::format(R"("dtype":"{}","shape":[3],"data_offsets":[0,3])", dtype)), 3);
  }
  check_read(entry(R"("data_offsets":[0,8],"shape":[],"dtype":"F64")"), 8);
  check_read(entry(R"("dtype":"F6_E2M3","shape":[1,2,1,2,1,1,1,1],"data_offsets":[0,3])"), 3);
  check_read(
      "{ \"a\": {\n \"shape\": [ 1 , 2 ] , \"data_offsets\": [ 0 , 4 ] ,\t\"dtype\": \"F16\" } \r, \"b\": {"
      "\"dtype\": \"U8\", \"shape\": [ ], \"data_offsets\": [4, 5]}}",
      5);
  check_read(R"({"":{"dtype":"U8","shape":[0,12345678,1234567,99999],"data_offsets":[0,0]}})", 0);
}

TEST_CASE("Numbers of every length are read exactly") {
  for (const uint64_t number : {uint64_t{9}, uint64_t{10}, uint64_t{1'234'567}, uint64_t{12'345'678},
                                uint64_t{123'456'789}, uint64_t{9'876'543'210'123'456},
                                uint64_t{12'345'678'901'234'567}, uint64_t{1'844'674'407'370'955'161}}) {
    const std::string text =
        entry(fmt::format(R"("dtype":"U8","shape":[{}],"data_offsets":[0,{}])", number, number));
    const std::optional<SafetensorsHeader> header = plain(text, 8 + text.size() + number);
    CAPTURE(number);
    REQUIRE(header);
    CHECK(header->tensors[0].end == number);
    CHECK(header->tensors[0].shape[0] == number);
    check_read(text, number);
    check_left(text, number + 1, false);
  }
}

TEST_CASE("Headers that are valid and left to the other reader") {
  check_left(" {}", 0, true);
  check_left(R"({"__metadata__":null})", 0, true);
  check_left(R"({"__metadata__":{"a":"\n"}})", 0, true);
  check_left(R"({"\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1, true);
  check_left(entry(R"("dtype" :"U8","shape":[1],"data_offsets":[0,1])"), 1, true);
  check_left(entry(R"("dtype":"NEXT","shape":[1],"data_offsets":[0,1])"), 1, true);
  check_left(entry(R"("dtype":"U8","shape":[1],"data_offsets":[0,1],"x":0)"), 1, true);
  check_left(entry(R"("dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1])"), 1, true);
  check_left(entry(R"("dtype":"U8","shape":[0,18446744073709551615],"data_offsets":[0,0])"), 0, true);
}

TEST_CASE("What is wrong is left to the other reader, which says what") {
  for (const test::MalformedCase& malformed : test::malformed_corpus()) {
    if (malformed.kind != test::DocumentKind::safetensors || malformed.bytes.size() < 8) continue;
    const auto prefix = std::as_bytes(std::span(malformed.bytes).first(8));
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, prefix.data(), 8);
    if (header_bytes > malformed.bytes.size() - 8) continue;
    CAPTURE(malformed.name);
    CHECK_FALSE(plain(std::string_view(malformed.bytes).substr(8, header_bytes), malformed.bytes.size()));
  }
  check_left(R"({"__metadata__":{},"__metadata__":{}})", 0, false);
  check_left(R"({"__metadata__":{"a":"","b":"","a":""}})", 0, false);
  check_left("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, false);
  check_left(entry(R"("dtype":"F4","shape":[3],"data_offsets":[0,1])"), 1, false);
  check_left(entry(R"("dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0])"), 0, false);
  check_left(entry(R"("dtype":"U64","shape":[2305843009213693952],"data_offsets":[0,0])"), 0, false);
  check_left(entry(R"("dtype":"U8","shape":[1],"data_offsets":[18446744073709551616,1])"), 1, false);
  check_left(entry(R"("dtype":"U8","shape":[1],"data_offsets":[2,1])"), 1, false);
  check_left(entry(R"("dtype":"U8","shape":[1],"dtype":"U8","data_offsets":[0,1])"), 1, false);
  check_left(std::string("{}\0", 3), 0, false);
}

TEST_CASE("Both readers agree on every deleted, replaced and inserted byte") {
  using namespace std::string_view_literals;
  constexpr std::string_view kAlphabet = "\"\\{}[]:,. \v\f\r\t\n0129-+eadhstyUBF8_\0\x1f\x7f\x80\xc3"sv;
  const std::string headers[] = {
      R"({"__metadata__":{"format":"pt"},"a.b":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,12]}} )",
      R"({"b": {"data_offsets":[10,12],"dtype":"U8","shape":[2]},"a":{"dtype":"U8","shape":[10],"data_offsets":[0,10]}})"};
  size_t read = 0, left = 0;
  const auto check = [&](const std::string& header) {
    ++(agrees(header, 8 + header.size() + 12) ? read : left);
  };
  for (const std::string& header : headers) {
    check(header);
    for (size_t at = 0; at < header.size(); ++at) {
      std::string changed = header;
      for (const char c : kAlphabet) {
        changed[at] = c;
        check(changed);
      }
      check(header.substr(0, at) + header.substr(at + 1));
      for (const char c : std::string_view(" 0,\"\n")) check(header.substr(0, at) + c + header.substr(at));
    }
  }
  // Names, metadata and white space may change into others; structure may not.
  CHECK(read > 500);
  CHECK(left > 2 * read);
}

TEST_CASE("Many tensors, in any order and with names of any length, are read and found by name") {
  constexpr uint64_t kTensors = 3000;
  for (const uint64_t step : {uint64_t{1}, uint64_t{7}, kTensors - 1}) {
    std::string header = "{";
    for (uint64_t i = 0; i < kTensors; ++i) {
      const uint64_t place = i * step % kTensors;
      header += fmt::format(R"("{}{}":{{"dtype":"{}","shape":[2,1],"data_offsets":[{},{}]}},)",
                            std::string(place % 150, place % 10 == 0 ? '~' : 'n'), place,
                            place % 3 == 0 ? "F16" : "I16", place * 4, place * 4 + 4);
    }
    header.back() = '}';
    check_read(header, kTensors * 4);
    const std::optional<SafetensorsHeader> read = plain(header, 8 + header.size() + kTensors * 4);
    REQUIRE(read);
    CHECK(read->tensors[150].name == "150");
    CHECK(read->find("n1") == &read->tensors[1]);
    CHECK(read->find("n2") == nullptr);
    // One name once more, at the other end of the header.
    const std::string twice = fmt::format(R"({},"n1":{{"dtype":"U8","shape":[0],"data_offsets":[{},{}]}}}})",
                                          header.substr(0, header.size() - 1), kTensors * 4, kTensors * 4);
    check_left(twice, kTensors * 4, false);
  }
}

}  // namespace
}  // namespace hfload
