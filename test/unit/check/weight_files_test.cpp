#include "core/check/weight_files.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "test/support/checkpoint_builder.h"
#include "test/support/temp_directory.h"

namespace hfload {
namespace {

const std::string kWeights = test::CheckpointBuilder().filled("a", "F32", {4}, 16).bytes();

/// "code: file file", one line for each finding about a directory that holds an index of `shards`, where
/// there are any, and files of the names `files`.
std::string found(const std::string& entry, const std::vector<std::string>& shards,
                  const std::vector<std::string>& files, const std::string& variant = "") {
  const test::TempDirectory root;
  for (const std::string& file : files) root.write(file, kWeights);
  std::vector<std::pair<std::string, std::string>> weight_map;
  for (const std::string& shard : shards) {
    const std::string tensor = "tensor of " + shard;
    root.write(shard, test::CheckpointBuilder().filled(tensor, "F32", {4}, 16).bytes());
    weight_map.emplace_back(tensor, shard);
  }
  if (!shards.empty()) root.write(entry, test::shard_index_json(weight_map, 16 * shards.size()));
  LocateOptions options;
  options.variant = variant;
  std::string text;
  for (const Finding& finding : find_other_weights(open_checkpoint(locate_model(root.path(), options)))) {
    text += std::string(finding.code) + ":";
    for (const std::string& name : finding.names) text += " " + name;
    text += "\n";
  }
  return text;
}

constexpr char kIndex[] = "model.safetensors.index.json";

}  // namespace

TEST_CASE("what macOS leaves is no weights", "[check]") {
  CHECK(found(kIndex, {"model-00001-of-00001.safetensors"},
              {"._model-00001-of-00001.safetensors", "._model.safetensors.index.json", ".DS_Store",
               "._model.safetensors"}) == "");
}

TEST_CASE("shards of the set that was read are missed in its index", "[check]") {
  CHECK(found(kIndex, {"model-00001-of-00001.safetensors"}, {"model-00002-of-00002.safetensors"}) ==
        "unindexed_files: model-00002-of-00002.safetensors\n");
  // transformers puts the variant of a shard before its number, and diffusers after it.
  CHECK(found("model.safetensors.index.fp16.json", {"model.fp16-00001-of-00001.safetensors"},
              {"model.fp16-00002-of-00002.safetensors", "model-00001-of-00003.fp16.safetensors",
               "model-00001-of-00002.safetensors"},
              "fp16") ==
        "unindexed_files: model-00001-of-00003.fp16.safetensors model.fp16-00002-of-00002.safetensors\n"
        "other_weights: model-00001-of-00002.safetensors\n");
}

TEST_CASE("another variant is a set of its own", "[check]") {
  CHECK(found(kIndex, {"model-00001-of-00001.safetensors"},
              {"model-00001-of-00002.fp16.safetensors", "model.fp16-00002-of-00002.safetensors"}) ==
        "other_weights: model-00001-of-00002.fp16.safetensors model.fp16-00002-of-00002.safetensors\n");
}

TEST_CASE("a second set of the same name and format is a fault, one of another format is a note", "[check]") {
  CHECK(found(kIndex, {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"},
              {"model.safetensors"}) ==
        "two_sets_of_weights: model-00001-of-00002.safetensors model-00002-of-00002.safetensors "
        "model.safetensors.index.json\n");
  CHECK(found("", {}, {"model.safetensors", "model-00001-of-00001.safetensors"}) ==
        "two_sets_of_weights: model-00001-of-00001.safetensors\n");
  CHECK(found("", {},
              {"model.safetensors", "pytorch_model.bin", "flax_model.msgpack", "consolidated.00.pth",
               "m.gguf", "training_args.bin", "optimizer.pt", "tokenizer.json"}) ==
        "other_weights: consolidated.00.pth flax_model.msgpack m.gguf pytorch_model.bin\n");
}

TEST_CASE("an index of the one file, as MLX writes it, is no second set", "[check]") {
  CHECK(found(kIndex, {"model.safetensors"}, {}) == "");
}

TEST_CASE("beside a file that the user names nothing is looked for", "[check]") {
  const test::TempDirectory root;
  for (const char* name : {"model.safetensors", "model-00001-of-00001.safetensors"})
    root.write(name, kWeights);
  CHECK(find_other_weights(open_checkpoint(locate_model(root / "model.safetensors", {}))).empty());
}

}  // namespace hfload
