#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "core/base/error.h"
#include "core/model/checkpoint.h"
#include "core/model/pickle_files.h"
#include "core/model/shell.h"
#include "test/support/fixtures.h"
#include "test/support/sha256.h"
#include "test/support/temp_directory.h"

namespace hfload {
namespace {

Checkpoint open(const std::string& fixture) {
  return open_checkpoint(locate_model(test::fixture_path(fixture), {}));
}

std::string bytes_of(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
  std::string bytes(tensor.bytes(), '\0');
  read_tensor_elements(open_shard(checkpoint, tensor.shard), stored_elements(checkpoint, tensor), 0,
                       std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

TEST_CASE("a model in PyTorch's format has the tensors of the same one in safetensors", "[model]") {
  for (const std::string name : {"llama-tiny", "gpt2-tiny"}) {
    INFO(name);
    const Checkpoint torch = open("torch/" + name), safetensors = open("checkpoints/" + name);
    CHECK(torch.complete());
    std::map<std::string, const CheckpointTensor*> expected;
    for (const CheckpointTensor& tensor : safetensors.tensors) expected[tensor.name.str()] = &tensor;
    size_t repeated = 0;
    for (const CheckpointTensor& tensor : torch.tensors) {
      INFO(tensor.name.view());
      CHECK(tensor.is_in_place());
      if (tensor.repeats_another()) {
        ++repeated;
        CHECK(bytes_of(torch, tensor) == bytes_of(torch, torch.tensors[tensor.view->same_as]));
        continue;
      }
      // Of two names of one storage, either comes first.
      const std::string saved = tensor.name == "lm_head.weight" && !expected.contains(tensor.name.str())
                                    ? "transformer.wte.weight"
                                    : tensor.name.str();
      REQUIRE(expected.contains(saved));
      const CheckpointTensor& other = *expected.at(saved);
      CHECK(tensor.dtype == other.dtype);
      CHECK(tensor.dtype_name() == other.dtype_name());
      CHECK(tensor.shape == other.shape);
      CHECK(bytes_of(torch, tensor) == bytes_of(safetensors, other));
    }
    CHECK(torch.tensors.size() - repeated == expected.size());
    CHECK(torch.described_bytes() == safetensors.described_bytes());
  }
}

TEST_CASE("a checkpoint's strided and big-endian tensors become what torch makes of them", "[model]") {
  size_t elsewhere = 0;
  for (const ConfigValue& row : test::read_jsonl_fixture("torch/expected.jsonl")) {
    const Checkpoint checkpoint = open("torch/" + test::string_of(test::at(row, "file")));
    std::map<std::string, std::string> digests;
    for (const ConfigValue& tensor : test::array_of(test::at(row, "tensors")))
      digests[test::string_of(test::at(tensor, "name"))] = test::string_of(test::at(tensor, "sha256"));
    REQUIRE(checkpoint.tensors.size() == digests.size());
    for (const CheckpointTensor& tensor : checkpoint.tensors) {
      INFO(checkpoint.shards[0].file << ' ' << tensor.name.view());
      elsewhere += tensor.is_in_place() ? 0 : 1;
      CHECK(test::sha256(bytes_of(checkpoint, tensor)) == digests.at(tensor.name.str()));
    }
  }
  CHECK(elsewhere > 40);
}

TEST_CASE("a deflated archive has the tensors of the stored one", "[model]") {
  const Checkpoint stored = open("torch/views.pt"), deflated = open("torch/deflated.pt");
  REQUIRE(deflated.tensors.size() == stored.tensors.size());
  CHECK(deflated.warnings.at(0).find("temporary file") != std::string::npos);
  std::map<std::string, const CheckpointTensor*> expected;
  for (const CheckpointTensor& tensor : stored.tensors) expected[tensor.name.str()] = &tensor;
  for (const CheckpointTensor& tensor : deflated.tensors) {
    INFO(tensor.name.view());
    CHECK(bytes_of(deflated, tensor) == bytes_of(stored, *expected.at(tensor.name.str())));
  }
  CHECK(reopen_shard(deflated, 0).identity == deflated.shards[0].identity);
  CHECK(open_shard_file(deflated, 0).identity != deflated.shards[0].identity);
}

TEST_CASE("views with the negative bit are tied to those with the same bits alone", "[model]") {
  const Checkpoint checkpoint = open("torch/negated.pt");
  std::map<std::string, std::string> tied;
  for (const CheckpointTensor& tensor : checkpoint.tensors) {
    if (tensor.repeats_another())
      tied[tensor.name.str()] = checkpoint.tensors[tensor.view->same_as].name.str();
  }
  CHECK(tied == std::map<std::string, std::string>{{"conj_again", "conj"}, {"parameter", "conj"}});
}

TEST_CASE("a tensor that is no plain one is listed and not read", "[model]") {
  for (const std::string kind : {"sparse", "meta", "quantized", "nested"}) {
    INFO(kind);
    const std::string path = test::fixture_path("torch/odd_" + kind + ".pt");
    std::vector<Finding> findings;
    const Checkpoint checkpoint = open_damaged_checkpoint(locate_model(path, {}), findings);
    REQUIRE(checkpoint.tensors.size() == 2);
    const CheckpointTensor& odd = checkpoint.tensors[1];
    CHECK((odd.unreadable && odd.name == "odd" && odd.dtype_name() == kind && odd.bytes() == 0));
    CHECK(!checkpoint.tensors[0].unreadable);
    REQUIRE(findings.size() == 1);
    CHECK(findings[0].names == std::vector<std::string>{"odd"});
    CHECK(checkpoint.warnings.back().find("--exclude") != std::string::npos);
    try {
      require_readable_tensors(checkpoint);
      FAIL("accepted");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::unsupported_format);
      CHECK(error.tensor() == "odd");
    }
  }
}

TEST_CASE("names of one storage are one parameter, views of a part are not", "[model]") {
  const Checkpoint checkpoint = open("torch/views.pt");
  for (const CheckpointTensor& tensor : checkpoint.tensors) {
    INFO(tensor.name.view());
    CHECK(tensor.repeats_another() == (tensor.name == "lm_head.weight"));
  }
  const Shell shell = build_shell(checkpoint, {});
  CHECK(shell.tree.tied_groups() ==
        std::vector<std::vector<std::string>>{{"embed.weight", "lm_head.weight"}});
}

TEST_CASE("an index that names what a PyTorch shard lacks", "[model]") {
  const test::TempDirectory directory;
  directory.write("pytorch_model.bin.index.json", R"({"weight_map":{"w":"a.bin","base":"a.bin"}})");
  directory.write("a.bin", test::read_file(test::fixture_path("torch/views.pt")));
  const Checkpoint checkpoint = open_checkpoint(locate_model(directory.path(), {}));
  CHECK(checkpoint.tensors.size() == 21);
  CHECK(std::ranges::count(checkpoint.tensors, true, &CheckpointTensor::unindexed) == 20);
  const std::vector<std::string>& warnings = checkpoint.warnings;
  REQUIRE(warnings.size() >= 2);
  CHECK(warnings[warnings.size() - 2].find("'w' for one") != std::string::npos);
  CHECK(warnings.back().find("20 tensors") != std::string::npos);
}

TEST_CASE("the files that a scan looks into", "[model]") {
  const test::TempDirectory directory;
  const auto found = [&] {
    std::vector<std::string> names;
    for (const std::string& path : find_pickle_files(directory.path(), {}).files)
      names.push_back(path.substr(directory.path().size() + 1));
    return names;
  };
  CHECK(found().empty());
  for (const char* name : {"b.bin", "config.json", "model.safetensors", "sub/a.pt", "empty"})
    directory.write(name, "");
  directory.write("odd.name", "\x80\x04N.");
  directory.link("linked.pkl", "b.bin");
  CHECK(found() == std::vector<std::string>{"b.bin", "linked.pkl", "odd.name", "sub/a.pt"});
  // Folders at any depth, but not twice by way of a link.
  const std::string deep = "1/2/3/4/5/6/7/8/9/10/11/12/deep.ckpt";
  directory.write(deep, "");
  directory.link("1/around", "..");
  directory.write("zip", "PK\x03\x04");
  directory.write("protocol 0", "cos\nsystem\n.and more");
  directory.write("text", "cat\ndog\nbird\n");
  CHECK(found() ==
        std::vector<std::string>{deep, "b.bin", "linked.pkl", "odd.name", "protocol 0", "sub/a.pt", "zip"});

  const PickleFiles none = find_pickle_files(directory / "empty", {});
  CHECK(none.files.empty());
  CHECK(none.others == std::vector<std::string>{directory / "empty"});
  for (const char* name : {"b.bin", "odd.name", "zip", "protocol 0"})
    CHECK(find_pickle_files(directory / name, {}).files == std::vector<std::string>{directory / name});
}

}  // namespace
}  // namespace hfload
