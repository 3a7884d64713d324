// Writes the malformed corpus, and some valid files beside it, below a directory: DIRECTORY/<kind>/<name> for
// each case, and DIRECTORY/expected.tsv with kind, name, error code and tensor. For fuzzers, for comparison
// with other readers, and to run the program on.

#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "test/support/checkpoint_builder.h"
#include "test/support/fixtures.h"
#include "test/support/malformed_corpus.h"

namespace hfload::test {
namespace {

namespace fs = std::filesystem;

const char* name_of(DocumentKind kind) {
  switch (kind) {
    case DocumentKind::safetensors:
      return "safetensors";
    case DocumentKind::shard_index:
      return "shard_index";
    case DocumentKind::model_config:
      return "model_config";
  }
  return "";
}

void write(const fs::path& path, std::string_view bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  out.close();
  if (!out) throw std::runtime_error("cannot write " + path.string());
}

void write_malformed(const fs::path& directory) {
  std::string expected;
  for (const MalformedCase& malformed : malformed_corpus()) {
    const fs::path folder = directory / name_of(malformed.kind);
    fs::create_directories(folder);
    write(folder / malformed.name, malformed.bytes);
    expected.append(name_of(malformed.kind)).append("\t").append(malformed.name).append("\t");
    expected.append(error_code_info(malformed.code).name).append("\t").append(malformed.tensor).append("\n");
  }
  write(directory / "expected.tsv", expected);
}

void write_valid(const fs::path& directory) {
  CheckpointBuilder mixed, plain;
  mixed.metadata("format", "pt")
      .filled("f4", "F4", {2, 3}, 3)
      .filled("empty", "I64", {0}, 0)
      .filled("b", "BOOL", {3}, 3);
  plain.filled("model.embed_tokens.weight", "F16", {4, 2}, 16).filled("model.norm.weight", "BF16", {2}, 4);
  write(directory / "safetensors/valid-mixed", mixed.bytes());
  write(directory / "safetensors/valid-plain", plain.bytes());
  write(directory / "safetensors/valid-header", mixed.header());
  write(directory / "safetensors/valid-empty", safetensors_bytes("{}"));
  for (const char* dtype : {"float16", "bfloat16", "float32"}) {
    fs::create_directories(directory / "offload_index");
    write(directory / "offload_index" / dtype,
          read_file(fixture_path(std::string("offload/") + dtype + "/index.json")));
  }
  write(directory / "offload_index/in_place",
        R"({"a": {"safetensors_file": "/m.safetensors", "weight_name": "b", "dtype": "bfloat16"}})");
  fs::create_directories(directory / "tensor_hashes");
  write(directory / "tensor_hashes/two",
        R"({"schema": "hfload.hashes/1", "tensors": {)"
        R"("a": {"dtype": "F16", "shape": [2, 3], "hash": "0123456789abcdef"}, )"
        R"("b": {"dtype": "I64", "shape": [], "hash": "fedcba9876543210"}}})");
  fs::create_directories(directory / "hub_records");
  const std::string sha1(40, '1'), sha256(64, '2');
  write(directory / "hub_records/listing",
        R"({"format_version": 1, "files": {"a": {"size": 3, "blob_id": ")" + sha1 +
            R"("}, "b": {"size": 9, "blob_id": ")" + sha1 + R"(", "lfs_sha256": ")" + sha256 +
            R"(", "lfs_size": 9, "xet_hash": null}}})");
  write(directory / "hub_records/metadata", sha1 + "\n" + sha256 + "\n1712656091.123\n");
  fs::create_directories(directory / "device_map");
  write(directory / "device_map/json", R"({"model.embed_tokens": 0, "model.layers.0": "cpu", "": "disk"})");
  write(directory / "device_map/python", R"({'encoder': 'cuda:1', "it's": 0, 'a\n\x7f\u00e9': 'cpu',})");
  write(directory / "device_map/plan", R"({"schema": "hfload.plan/1", "hf_device_map": {"": 0}})");
  for (const auto& model : fs::directory_iterator(fixture_path("checkpoints"))) {
    const std::string name = "valid-" + model.path().filename().string();
    for (const auto& [file, kind] :
         {std::pair{"config.json", "model_config"}, {"model.safetensors.index.json", "shard_index"}}) {
      if (fs::exists(model.path() / file))
        write(directory / kind / name, read_file((model.path() / file).string()));
    }
  }
}

}  // namespace
}  // namespace hfload::test

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: hfload_write_corpus DIRECTORY\n", stderr);
    return 2;
  }
  try {
    hfload::test::write_malformed(argv[1]);
    hfload::test::write_valid(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
