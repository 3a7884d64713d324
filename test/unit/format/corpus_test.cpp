#include <catch2/catch.hpp>
#include <filesystem>

#include "core/base/error.h"
#include "core/format/model_config.h"
#include "core/format/shard_index.h"
#include "test/support/fixtures.h"

namespace hfload {
namespace {

namespace fs = std::filesystem;

bool is_index(const fs::path& path) {
  return path.string().ends_with(".index.json") || path.string().find(".index.") != std::string::npos;
}

TEST_CASE("Metadata of published models are accepted") {
  const std::optional<std::string> corpus = test::corpus_directory();
  if (!corpus) {
    WARN("skipped: HFLOAD_CORPUS is not set");
    return;
  }
  size_t models = 0, indices = 0;
  for (const auto& model : fs::directory_iterator(*corpus)) {
    if (!model.is_directory() || model.path().filename() == "edge") continue;
    ++models;
    for (const auto& file : fs::directory_iterator(model.path())) {
      CAPTURE(file.path().string());
      const std::string text = test::read_file(file.path().string());
      if (is_index(file.path())) {
        const ShardIndex index = parse_shard_index(text);
        CHECK(!index.weight_map.empty());
        CHECK(!index.shards.empty());
        CHECK(index.notes.empty());
        ++indices;
      } else if (file.path().extension() == ".json") {
        const ModelConfig config = parse_model_config(text);
        if (file.path().filename() != "config.json") continue;
        CHECK(!config.model_type().empty());
        CHECK(config.architectures().size() == 1);
        CHECK_NOTHROW(config.dtype());
        CHECK_NOTHROW(config.num_labels());
      }
    }
  }
  CHECK(models >= 30);
  CHECK(indices >= 25);
}

TEST_CASE("Broken metadata of published models are refused by name") {
  const std::optional<std::string> corpus = test::corpus_directory();
  if (!corpus) {
    WARN("skipped: HFLOAD_CORPUS is not set");
    return;
  }
  const auto code_of = [&](const std::string& file, auto&& parse) {
    try {
      parse(test::read_file(*corpus + "/edge/" + file));
    } catch (const Error& error) {
      CHECK(error.exit_status() == 3);
      CHECK(error.offset().has_value());
      return error.code();
    }
    return ErrorCode::internal;
  };
  CHECK(code_of("bloom-two-json-docs/model.safetensors.index.json", parse_shard_index) ==
        ErrorCode::invalid_json);
  CHECK(code_of("empty-weight-map/model.safetensors.index.json", parse_shard_index) ==
        ErrorCode::invalid_index);
  CHECK(code_of("lfs-pointer-index/pytorch_model.bin.index.json", parse_shard_index) ==
        ErrorCode::lfs_pointer);
  CHECK(code_of("lisa-broken-config/config.json", parse_model_config) == ErrorCode::invalid_json);
}

}  // namespace
}  // namespace hfload
