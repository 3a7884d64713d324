#include "core/format/shard_index.h"

#include <catch2/catch.hpp>
#include <cstdio>

#include "core/base/error.h"
#include "test/support/checkpoint_builder.h"

namespace hfload {
namespace {

ShardIndex parse_metadata(const std::string& metadata) {
  return parse_shard_index(R"({"metadata":)" + metadata + R"(,"weight_map":{"a":"f"}})");
}

TEST_CASE("A shard index gives its shards sorted and its tensors in file order") {
  const ShardIndex index = parse_shard_index(R"({
    "metadata": {"total_size": 18446744073709551615, "dtype": "torch.bfloat16", "total_parameters": 4.5},
    "weight_map": {"z": "m-2.safetensors", "a": "m-1.safetensors", "b": "m-2.safetensors", "": "sub/m-3"},
    "_note": ["anything"]
  })");
  CHECK(index.shards == std::vector<std::string>{"m-1.safetensors", "m-2.safetensors", "sub/m-3"});
  REQUIRE(index.weight_map.size() == 4);
  const std::pair<std::string, std::string> expected[] = {
      {"z", "m-2.safetensors"}, {"a", "m-1.safetensors"}, {"b", "m-2.safetensors"}, {"", "sub/m-3"}};
  for (size_t i = 0; i < 4; ++i) {
    CHECK(index.weight_map[i].tensor == expected[i].first);
    CHECK(index.shards.at(index.weight_map[i].shard) == expected[i].second);
  }
  CHECK(index.total_size_bytes == UINT64_MAX);
  CHECK(index.dtype == "bfloat16");
  CHECK(index.notes.empty());
}

TEST_CASE("The metadata of an index are advisory") {
  CHECK(!parse_shard_index(R"({"weight_map":{"a":"f"}})").total_size_bytes);
  CHECK(!parse_metadata("null").total_size_bytes);
  CHECK(!parse_metadata("{}").total_size_bytes);
  CHECK(parse_metadata(R"({"total_size":0})").total_size_bytes == 0u);
  CHECK(parse_metadata(R"({"total_size":123456.0})").total_size_bytes == 123456u);
  CHECK(parse_metadata(R"({"total_size":1e3})").total_size_bytes == 1000u);
  CHECK(parse_metadata(R"({"total_size":9007199254740991.0})").total_size_bytes == 9007199254740991u);
  CHECK(parse_metadata(R"({"total_size":null})").notes.empty());
  for (const std::string size :
       {"9007199254740992.0", "1.5", "-1", "1e400", "1e19", "18446744073709551616", "\"5\"", "[1]", "true"}) {
    CAPTURE(size);
    const ShardIndex index = parse_metadata(R"({"total_size":)" + size + "}");
    CHECK(!index.total_size_bytes);
    CHECK(index.notes.size() == 1);
  }
  CHECK(parse_metadata(R"({"dtype":1})").notes.size() == 1);
  CHECK(!parse_metadata(R"({"dtype":null})").dtype);
}

TEST_CASE("Plain relative paths are accepted, odd names included") {
  const std::string longest(255, 'x');
  for (const std::string path : {"f", "a/b/c", "...", "a..b", "..a", "a..", ".hidden", "%2e%2e/x", "ab:c",
                                 " ", "-", "~/x", "1:x", longest.c_str()}) {
    CAPTURE(path);
    CHECK(parse_shard_index(R"({"weight_map":{"a":")" + path + "\"}}").shards ==
          std::vector<std::string>{path});
  }
}

TEST_CASE("Spellings of one path are one shard") {
  const ShardIndex index = parse_shard_index(
      R"({"weight_map":{"a":"./x.safetensors","b":"x.safetensors","c":"sub//./y.safetensors","d":"sub/y.safetensors"}})");
  CHECK(index.shards == std::vector<std::string>{"sub/y.safetensors", "x.safetensors"});
  CHECK(index.weight_map[0].shard == index.weight_map[1].shard);
  CHECK(index.weight_map[2].shard == index.weight_map[3].shard);
}

TEST_CASE("An index of many tensors and many shards keeps every pair") {
  constexpr int kTensors = 20000, kShards = 701;
  const auto shard_of = [](int tensor) {
    char name[16];
    std::snprintf(name, sizeof name, "s%03d", tensor * 7 % kShards);
    return std::string(name);
  };
  std::vector<std::pair<std::string, std::string>> weight_map;
  weight_map.reserve(kTensors);
  for (int i = 0; i < kTensors; ++i) weight_map.emplace_back(std::to_string(i), shard_of(i));
  const ShardIndex index = parse_shard_index(test::shard_index_json(weight_map, 0));
  REQUIRE(index.shards.size() == kShards);
  std::vector<std::pair<std::string, std::string>> got;
  got.reserve(kTensors);
  for (const WeightMapEntry& entry : index.weight_map)
    got.emplace_back(entry.tensor, index.shards.at(entry.shard));
  CHECK((got == weight_map));
}

}  // namespace
}  // namespace hfload
