#include "core/format/safetensors.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "core/base/error.h"
#include "core/format/shard_index.h"
#include "test/support/checkpoint_builder.h"
#include "test/support/fixtures.h"
#include "test/support/temp_directory.h"

namespace hfload {
namespace {

using test::CheckpointBuilder;
using test::safetensors_bytes;

SafetensorsHeader parse(std::string_view bytes) {
  return parse_safetensors_header(std::as_bytes(std::span(bytes)), bytes.size());
}

TEST_CASE("A file as the reference writes it") {
  // The golden bytes of the reference's own first test: 64 bytes of header, then 4 int32 zeros.
  const std::string header = R"({"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}}    )";
  REQUIRE(header.size() == 64);
  const SafetensorsHeader parsed = parse(safetensors_bytes(header, std::string(16, '\0')));
  CHECK(parsed.data_start == 72);
  CHECK(parsed.notes.empty());
  CHECK(parsed.metadata.empty());
  REQUIRE(parsed.tensors.size() == 1);
  const TensorInfo& tensor = parsed.tensors[0];
  CHECK(tensor.name == "test");
  CHECK(tensor.dtype == Dtype::i32);
  CHECK(tensor.dtype_name() == "I32");
  CHECK(tensor.shape == std::vector<uint64_t>{2, 2});
  CHECK(tensor.begin == 0);
  CHECK(tensor.end == 16);
  CHECK(tensor.bytes() == 16);
}

TEST_CASE("Tensors come in data order, whatever the order of the header") {
  const std::string header = R"({"c":{"dtype":"U8","shape":[2],"data_offsets":[6,8]},
    "a":{"data_offsets":[0,4],"dtype":"F32","shape":[]},"b":{"shape":[1],"dtype":"BF16","data_offsets":[4,6]}})";
  const SafetensorsHeader parsed = parse(safetensors_bytes(header, "01234567"));
  REQUIRE(parsed.tensors.size() == 3);
  CHECK(parsed.tensors[0].name == "a");
  CHECK(parsed.tensors[0].shape.empty());
  CHECK(parsed.tensors[1].name == "b");
  CHECK(parsed.tensors[2].name == "c");
}

TEST_CASE("Accepted: what the format allows and what the reference does") {
  CHECK(parse(safetensors_bytes("{}")).tensors.empty());
  CHECK(parse(safetensors_bytes("{}        ")).data_start == 18);
  CHECK(parse(safetensors_bytes("{}\t\r\n")).notes.empty());
  CHECK(parse(safetensors_bytes(R"({"__metadata__":null})")).metadata.empty());
  CHECK(parse(safetensors_bytes(R"({"__metadata__":{}})")).metadata.empty());

  SECTION("metadata keep their order and their escapes") {
    const auto metadata =
        parse(safetensors_bytes(R"({"__metadata__":{"z":"1","format":"pt\n\u00e9\ud83d\ude00"}})")).metadata;
    REQUIRE(metadata.size() == 2);
    CHECK(metadata[0] == std::pair<std::string, std::string>("z", "1"));
    CHECK(metadata[1] == std::pair<std::string, std::string>("format", "pt\n\xc3\xa9\xf0\x9f\x98\x80"));
  }
  SECTION("names are any text") {
    const std::string names[] = {"",
                                 " ",
                                 "a b",
                                 std::string("nul\0nul", 7),
                                 "\x1b[2J",
                                 "\xe2\x80\xae",
                                 std::string(65536, 'n'),
                                 "metadata",
                                 "__metadata___",
                                 "\"\\/"};
    CheckpointBuilder builder;
    for (const std::string& name : names) builder.filled(name, "U8", {1}, 1);
    const SafetensorsHeader parsed = parse(builder.bytes());
    REQUIRE(parsed.tensors.size() == std::size(names));
    for (size_t i = 0; i < std::size(names); ++i) CHECK(parsed.tensors[i].name == names[i]);
  }
  SECTION("tensors of no bytes share an offset with a neighbour") {
    const std::string header = R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
      "z1":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"z2":{"dtype":"F32","shape":[3,0,18446744073709551615],"data_offsets":[4,4]},
      "z3":{"dtype":"F4","shape":[0],"data_offsets":[4,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})";
    const SafetensorsHeader parsed = parse(safetensors_bytes(header, "01234567"));
    REQUIRE(parsed.tensors.size() == 5);
    CHECK(parsed.tensors[0].name == "z1");
    CHECK(parsed.tensors[4].name == "b");
  }
  SECTION("data need no alignment") {
    CheckpointBuilder builder;
    builder.filled("odd", "U8", {3}, 3).filled("wide", "F64", {2}, 16);
    CHECK(parse(builder.bytes()).tensors[1].begin == 3);
  }
  SECTION("sub-byte dtypes that end on a byte") {
    CheckpointBuilder builder;
    builder.filled("f4", "F4", {3, 2}, 3).filled("f6", "F6_E2M3", {2, 2}, 3).filled("f8", "F8_E8M0", {5}, 5);
    const SafetensorsHeader parsed = parse(builder.bytes());
    CHECK(parsed.tensors[0].dtype == Dtype::f4);
    CHECK(parsed.tensors[1].bytes() == 3);
    CHECK(parsed.notes.empty());
  }
  SECTION("integers are exact to 64 bits") {
    const std::string header = R"({"a":{"dtype":"U8","shape":[9007199254740993,0],"data_offsets":[0,0]}})";
    CHECK(parse(safetensors_bytes(header)).tensors[0].shape[0] == 9007199254740993u);
  }
  SECTION("128 levels") {
    const std::string open(126, '['), close(126, ']');
    const std::string header =
        R"({"a":{"x":)" + open + close + R"(,"dtype":"U8","shape":[0],"data_offsets":[0,0]}})";
    CHECK(parse(safetensors_bytes(header)).tensors.size() == 1);
  }
}

TEST_CASE("Accepted oddities are noted") {
  SECTION("white space before the header") {
    const SafetensorsHeader parsed = parse(safetensors_bytes(" {}"));
    REQUIRE(parsed.notes.size() == 1);
    CHECK(parsed.notes[0].find("white space") != std::string::npos);
  }
  SECTION("unknown fields, in one note") {
    const std::string header =
        R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"stride":[1.5e3,-0,null,true,{"x":"\u00e9"}]},
      "b":{"strange":{},"dtype":"U8","shape":[1],"data_offsets":[1,2]}})";
    const SafetensorsHeader parsed = parse(safetensors_bytes(header, "ab"));
    CHECK(parsed.tensors.size() == 2);
    REQUIRE(parsed.notes.size() == 1);
    CHECK(parsed.notes[0].find("\"stride\"") != std::string::npos);
    CHECK(parsed.notes[0].find("1 more") != std::string::npos);
  }
  SECTION("an unknown dtype keeps its name, and its range is still checked") {
    const std::string entry =
        R"({"a":{"dtype":"F4_NEXT","shape":[3],"data_offsets":[0,7]},"b":{"dtype":"U8","shape":[1],"data_offsets":)";
    const SafetensorsHeader parsed = parse(safetensors_bytes(entry + "[7,8]}}", "01234567"));
    CHECK(parsed.tensors[0].dtype == Dtype::unknown);
    CHECK(parsed.tensors[0].dtype_name() == "F4_NEXT");
    CHECK(parsed.tensors[0].bytes() == 7);
    REQUIRE(parsed.notes.size() == 1);
    CHECK(parsed.notes[0].find("F4_NEXT") != std::string::npos);
    CHECK_THROWS_AS(parse(safetensors_bytes(entry + "[6,7]}}", "0123456")), Error);
  }
}

TEST_CASE("The file that a length prefix belongs to is named in the hint") {
  const std::string zip = std::string("PK\3\4\0\0\10\10", 8);
  try {
    parse_safetensors_header_length(std::as_bytes(std::span(zip)), 1000);
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::header_too_large);
    CHECK(error.hint().find("zip") != std::string::npos);
  }
}

TEST_CASE("A head that holds less than the header is refused") {
  const std::string bytes = safetensors_bytes("{}  ", "");
  CHECK_THROWS_AS(parse_safetensors_header(std::as_bytes(std::span(bytes)).first(10), bytes.size()), Error);
  CHECK_THROWS_AS(parse_safetensors_header({}, bytes.size()), Error);
}

TEST_CASE("Headers are read from files, and errors name them") {
  const test::TempDirectory directory;
  CheckpointBuilder builder;
  builder.metadata("format", "pt").filled("a", "F16", {3, 7}, 42);
  const SafetensorsHeader header =
      read_safetensors_header(open_regular_file(directory.write("ok", builder.bytes())));
  CHECK(header.tensors.size() == 1);
  CHECK(header.metadata.size() == 1);

  const auto error_of = [&](const std::string& path) {
    try {
      read_safetensors_header(open_regular_file(path));
    } catch (const Error& error) {
      return error;
    }
    return Error(ErrorCode::internal, "accepted");
  };
  const std::string pointer =
      directory.write("pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
  CHECK(error_of(pointer).code() == ErrorCode::lfs_pointer);
  CHECK(error_of(pointer).path() == pointer);
  CHECK(error_of(directory.write("empty", "")).code() == ErrorCode::header_too_small);
  CHECK(error_of(directory.write("short", builder.bytes().substr(0, 20))).code() ==
        ErrorCode::header_truncated);

  SECTION("a sparse file of 8 EiB declares nothing that is allocated") {
    const std::string path = directory.write("sparse", std::string("\xff\xff\xff\xff\xff\xff\xff\x7f", 8));
    std::filesystem::resize_file(path, uint64_t{1} << 42);
    CHECK(error_of(path).code() == ErrorCode::header_too_large);
  }
}

TEST_CASE("The shards that transformers wrote hold what its index says") {
  size_t checkpoints = 0, tensors_seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(test::fixture_path("checkpoints"))) {
    const std::string index_path = (entry.path() / "model.safetensors.index.json").string();
    if (!std::filesystem::exists(index_path)) continue;
    CAPTURE(index_path);
    const ShardIndex index = parse_shard_index(test::read_file(index_path));
    CHECK(index.notes.empty());
    uint64_t bytes = 0;
    std::set<std::pair<std::string, std::string>> expected, got;
    for (const WeightMapEntry& mapped : index.weight_map)
      expected.emplace(mapped.tensor, index.shards.at(mapped.shard));
    for (const std::string& shard : index.shards) {
      const SafetensorsHeader header =
          read_safetensors_header(open_regular_file((entry.path() / shard).string()));
      CHECK(header.notes.empty());
      CHECK(header.metadata == std::vector<std::pair<std::string, std::string>>{{"format", "pt"}});
      for (const TensorInfo& tensor : header.tensors) {
        got.emplace(tensor.name, shard);
        bytes += tensor.bytes();
      }
    }
    CHECK(got == expected);
    CHECK(bytes == index.total_size_bytes.value());
    ++checkpoints;
    tensors_seen += got.size();
  }
  CHECK(checkpoints >= 2);
  CHECK(tensors_seen > 30);
}

}  // namespace
}  // namespace hfload
