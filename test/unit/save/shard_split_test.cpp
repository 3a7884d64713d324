#include "core/save/shard_split.h"

#include <catch2/catch.hpp>

#include "test/support/fixtures.h"

namespace hfload {
namespace {

using test::array_of;
using test::at;
using test::string_of;
using test::uint_of;

std::vector<SplitTensor> read_tensors(const ConfigValue& rows) {
  std::vector<SplitTensor> tensors;
  for (const ConfigValue& value : array_of(rows)) {
    const ConfigValue::Array& row = array_of(value);
    tensors.push_back({uint_of(row[0])});
    if (!row[1].is_null()) tensors.back().storage = uint_of(row[1]);
  }
  return tensors;
}

}  // namespace

TEST_CASE("shards are those of the Hub library", "[save]") {
  size_t sharded = 0;
  for (const ConfigValue& split_case : test::read_xz_jsonl_fixture("save/shard_splits.jsonl.xz")) {
    const std::vector<SplitTensor> tensors = read_tensors(at(split_case, "tensors"));
    const ShardSplit split =
        split_into_shards(tensors, uint_of(at(split_case, "limit")), "model.safetensors");
    CHECK(split.total_size_bytes == uint_of(at(split_case, "total_size")));
    const ConfigValue::Object& files = test::object_of(at(split_case, "files"));
    if (tensors.empty()) {
      // The library makes no file of an empty state dict; we make one without tensors.
      REQUIRE(split.files.size() == 1);
      CHECK(split.files[0].name == "model.safetensors");
      continue;
    }
    REQUIRE(split.files.size() == files.size());
    for (size_t f = 0; f < files.size(); ++f) {
      CHECK(split.files[f].name == files[f].first);
      std::vector<uint32_t> expected;
      for (const ConfigValue& t : array_of(files[f].second)) {
        expected.push_back(static_cast<uint32_t>(uint_of(t)));
      }
      CHECK(split.files[f].tensors == expected);
    }
    sharded += split.sharded();
  }
  CHECK(sharded > 500);
}

TEST_CASE("an index is the text that Python writes", "[save]") {
  size_t read = 0;
  const ConfigValue fixture = test::read_json_fixture("save/index_texts.json");
  for (const ConfigValue& text_case : array_of(fixture)) {
    const std::vector<std::string> names = test::strings_of(at(text_case, "names"));
    ShardSplit split;
    split.total_size_bytes = 12345678901;
    for (uint32_t f = 0; f < 3; ++f) {
      split.files.push_back({"model-0000" + std::to_string(f + 1) + "-of-00003.safetensors", {}});
    }
    for (uint32_t i = 0; i < names.size(); ++i) {
      split.files[i % 3].tensors.push_back(i);
    }
    const ConfigValue& parameters = at(text_case, "total_parameters");
    const std::optional<uint64_t> total =
        parameters.is_null() ? std::nullopt : std::optional(uint_of(parameters));
    std::string text;
    write_shard_index(
        split, [&](uint32_t tensor) { return std::string_view(names[tensor]); }, total,
        [&](std::string_view part) { text += part; });
    CHECK(text == string_of(at(text_case, "text")));
    ++read;
  }
  CHECK(read == 2);
}

TEST_CASE("names of shards are known", "[save]") {
  CHECK(is_shard_name("model-00001-of-00002.safetensors", "model.safetensors"));
  CHECK(is_shard_name("pytorch_model-12345-of-99999.bin", "pytorch_model.bin"));
  CHECK(!is_shard_name("model-00001-of-00002.bin", "model.safetensors"));
  CHECK(!is_shard_name("model-0001-of-00002.safetensors", "model.safetensors"));
  CHECK(!is_shard_name("model-00001-of-0000x.safetensors", "model.safetensors"));
  CHECK(!is_shard_name("my_model-00001-of-00002.safetensors", "model.safetensors"));
  CHECK(!is_shard_name("model.safetensors", "model.safetensors"));
}

}  // namespace hfload
