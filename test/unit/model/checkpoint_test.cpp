#include "core/model/checkpoint.h"

#include <catch2/catch.hpp>
#include <filesystem>

#include "core/base/error.h"
#include "test/support/checkpoint_builder.h"
#include "test/support/fixtures.h"
#include "test/support/temp_directory.h"

namespace hfload {
namespace {

using namespace test;

const std::string kConfig = R"({"model_type":"made_up","torch_dtype":"float32"})";

std::string shard(const std::string& tensor) {
  return CheckpointBuilder().filled(tensor, "F32", {2, 2}, 16).bytes();
}

std::string index_of(std::vector<std::pair<std::string, std::string>> map) {
  return shard_index_json(map, 32);
}

template <class F>
Error error_of_call(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e;
  }
  FAIL("no error");
  throw std::logic_error("unreachable");
}

}  // namespace

TEST_CASE("an index, its shards and a config are opened and cross-checked", "[model]") {
  const TempDirectory directory;
  directory.write("config.json", kConfig);
  directory.write("a.safetensors", shard("x"));
  directory.write("b.safetensors", shard("y"));
  directory.write("model.safetensors.index.json", index_of({{"x", "a.safetensors"}, {"y", "b.safetensors"}}));
  const Checkpoint checkpoint = open_checkpoint(locate_model(directory.path(), {}));
  REQUIRE(checkpoint.shards.size() == 2);
  REQUIRE(checkpoint.tensors.size() == 2);
  CHECK(checkpoint.complete());
  CHECK(checkpoint.described_bytes() == 32);
  CHECK(checkpoint.index_total_size_bytes == 32u);
  CHECK(checkpoint.tensors[1].name == "y");
  CHECK(checkpoint.tensors[1].shape == std::vector<uint64_t>{2, 2});
  CHECK(checkpoint.first_missing_shard() == nullptr);
  CHECK(open_shard(checkpoint, 1).identity == checkpoint.shards[1].identity);
}

TEST_CASE("a shard that is replaced by one of its size after its header was read is refused", "[model]") {
  const TempDirectory directory;
  const std::string torch = read_file(fixture_path("torch/views.pt"));
  for (const auto& [file, content] :
       {std::pair<std::string, std::string>{"model.safetensors", shard("x")}, {"views.pt", torch}}) {
    const std::string path = directory.write(file, content);
    const Checkpoint checkpoint = open_checkpoint(locate_model(path, {}));
    CHECK(reopen_shard(checkpoint, 0).identity == checkpoint.shards[0].identity);
    // With the time of the first, as a copy by rsync or cp -p has it.
    const std::string replacement = directory.write("new", std::string(content.size(), 'x'));
    std::filesystem::last_write_time(replacement, std::filesystem::last_write_time(path));
    std::filesystem::rename(replacement, path);
    const Error error = error_of_call([&] { reopen_shard(checkpoint, 0); });
    CHECK(error.code() == ErrorCode::changed_during_read);
    CHECK(error.path() == path);
    CHECK_FALSE(error.hint().empty());
  }
}

TEST_CASE("an absent shard is a state", "[model]") {
  const TempDirectory directory;
  directory.write("a.safetensors", shard("x"));
  directory.write("model.safetensors.index.json", index_of({{"x", "a.safetensors"}, {"y", "b.safetensors"}}));
  const Checkpoint checkpoint = open_checkpoint(locate_model(directory.path(), {}));
  CHECK_FALSE(checkpoint.complete());
  REQUIRE(checkpoint.first_missing_shard() != nullptr);
  CHECK(checkpoint.first_missing_shard()->file == "b.safetensors");
  CHECK(checkpoint.tensors[0].described);
  CHECK_FALSE(checkpoint.tensors[1].described);
  const Error e = error_of_call([&] { open_shard(checkpoint, 1); });
  CHECK(e.code() == ErrorCode::shard_missing);
  CHECK(e.path() == directory / "b.safetensors");
}

TEST_CASE("an index that contradicts its shards is refused, extra tensors are left out", "[model]") {
  const TempDirectory directory;
  directory.write("a.safetensors", shard("x"));
  directory.write("model.safetensors.index.json", index_of({{"x", "a.safetensors"}, {"y", "a.safetensors"}}));
  const Error e = error_of_call([&] { open_checkpoint(locate_model(directory.path(), {})); });
  CHECK(e.code() == ErrorCode::tensor_not_in_shard);
  CHECK(e.tensor() == "y");

  const TempDirectory extra;
  extra.write("a.safetensors",
              CheckpointBuilder().filled("x", "F32", {4}, 16).filled("z", "F32", {4}, 16).bytes());
  extra.write("model.safetensors.index.json", index_of({{"x", "a.safetensors"}}));
  const Checkpoint checkpoint = open_checkpoint(locate_model(extra.path(), {}));
  CHECK(checkpoint.tensors.size() == 1);
  REQUIRE(checkpoint.warnings.size() == 1);
  CHECK(checkpoint.warnings[0].find("'z'") != std::string::npos);
}

TEST_CASE("links of an index may not leave the model directory", "[model]") {
  const TempDirectory directory;
  const TempDirectory outside;
  outside.write("secret.safetensors", shard("x"));
  directory.link("a.safetensors", outside / "secret.safetensors");
  directory.write("model.safetensors.index.json", index_of({{"x", "a.safetensors"}}));
  CHECK(error_of_call([&] { open_checkpoint(locate_model(directory.path(), {})); }).code() ==
        ErrorCode::unsafe_path);

  directory.write("model.safetensors.index.json",
                  index_of({{"x", "../" + outside.path() + "/secret.safetensors"}}));
  CHECK(error_of_call([&] { open_checkpoint(locate_model(directory.path(), {})); }).code() ==
        ErrorCode::unsafe_path);
}

TEST_CASE("weights are looked for in the order of from_pretrained", "[model]") {
  const TempDirectory directory;
  directory.write("config.json", kConfig);
  const auto found = [&](const std::string& variant = "") {
    return locate_model(directory.path(), {.variant = variant}).weights_path;
  };
  const auto refused = [&](const std::string& variant) {
    return error_of_call([&] { locate_model(directory.path(), {.variant = variant}); });
  };
  CHECK(found().empty());
  CHECK(refused("fp16").hint().find("no weights of any variant") != std::string::npos);
  for (const char* file : {"flax_model.msgpack", "tf_model.h5", "pytorch_model.bin.index.json",
                           "pytorch_model.bin", "model.safetensors.index.json", "model.safetensors"}) {
    directory.write(file, "{}");
    CHECK(found() == directory / file);
  }
  CHECK(refused("fp16").code() == ErrorCode::weights_not_found);
  CHECK(refused("fp16").hint() == "Without --variant there is model.safetensors.");
  directory.write("model.safetensors.index.fp16.json", "{}");
  CHECK(found("fp16") == directory / "model.safetensors.index.fp16.json");
  directory.write("model.fp16.safetensors", "{}");
  CHECK(found("fp16") == directory / "model.fp16.safetensors");
  directory.write("pytorch_model.int8-00001-of-00002.bin", "{}");
  CHECK(refused("fp32").hint() ==
        "Without --variant there is model.safetensors. Weights of these variants are there: fp16.");
  CHECK(refused(std::string(300, 'x')).code() == ErrorCode::weights_not_found);
}

TEST_CASE("a config.json that is a dangling link is not passed over", "[model]") {
  const TempDirectory directory;
  directory.write("model.safetensors", shard("x"));
  CHECK(open_checkpoint(locate_model(directory.path(), {})).tensors.size() == 1);
  directory.link("config.json", "absent");
  const Error error = error_of_call([&] { open_checkpoint(locate_model(directory.path(), {})); });
  CHECK(error.code() == ErrorCode::not_found);
  CHECK(error.path() == directory / "config.json");
}

TEST_CASE("a file that the user names is known by its first bytes where its name tells nothing", "[model]") {
  const TempDirectory directory;
  const auto opened = [&](const std::string& content) {
    directory.write("0a1b2c", content);
    return open_checkpoint(locate_model(directory / "0a1b2c", {})).shards.at(0).format;
  };
  const auto refused = [&](const std::string& content) {
    return error_of_call([&] { opened(content); }).code();
  };
  CHECK(opened(shard("x")) == ShardFormat::safetensors);
  CHECK(opened(read_file(fixture_path("torch/views.pt"))) == ShardFormat::pytorch);
  CHECK(opened(read_file(fixture_path("torch/views_legacy.pt"))) == ShardFormat::pytorch);
  CHECK(refused(shard("x").substr(0, 20)) == ErrorCode::header_truncated);
  using namespace std::string_literals;
  for (const std::string& other :
       {""s, "{}"s, "root:x:0:0:"s, "GGUF\x03\0\0\0{"s, "\x01\xe1\xf5\x05\0\0\0\0{"s, "\x02\0\0\0\0\0\0\0[]"s,
        "\x89HDF\r\n\x1a\n"s})
    CHECK(refused(other) == ErrorCode::unsupported_format);
  CHECK(refused("version https://git-lfs.github.com/spec/v1\n") == ErrorCode::lfs_pointer);
  // The name decides where it is one of a format.
  directory.write("a.safetensors", read_file(fixture_path("torch/views.pt")));
  CHECK(error_of_call([&] {
          open_checkpoint(locate_model(directory / "a.safetensors", {}));
        }).exit_status() == 3);
}

TEST_CASE("a model is a directory, a file, an index, a config or a repository of the hub cache", "[model]") {
  const TempDirectory hub;
  const std::string commit(40, 'a');
  const std::string repository = "models--org--name";
  hub.write(repository + "/blobs/1234", shard("x"));
  hub.write(repository + "/blobs/5678", kConfig);
  hub.write(repository + "/refs/main", commit);
  hub.write(repository + "/refs/refs/pr/4", commit);
  hub.link(repository + "/snapshots/" + commit + "/model.safetensors", "../../blobs/1234");
  hub.link(repository + "/snapshots/" + commit + "/config.json", "../../blobs/5678");
  hub.link(repository + "/snapshots/" + commit + "/sub/model.safetensors", "../../../blobs/1234");
  LocateOptions options;
  options.cache.hub_cache = hub.path();
  const std::string snapshot = hub / repository + "/snapshots/" + commit;

  for (const std::string& revision :
       {std::string(), std::string("@main"), "@" + commit, std::string("@refs/pr/4")}) {
    const std::string model = "org/name" + revision;
    INFO(model);
    const Checkpoint checkpoint = open_checkpoint(locate_model(model, options));
    CHECK(checkpoint.has_config);
    CHECK(checkpoint.tensors.size() == 1);
    CHECK(checkpoint.location.directory == snapshot);
  }
  CHECK(open_checkpoint(locate_model(snapshot, {})).tensors.size() == 1);
  CHECK(open_checkpoint(locate_model(snapshot + "/", {})).tensors.size() == 1);
  CHECK(open_checkpoint(locate_model(snapshot + "/model.safetensors", {})).tensors.size() == 1);
  CHECK(open_checkpoint(locate_model(snapshot + "/config.json", {})).tensors.empty());
  LocateOptions subfolder = options;
  subfolder.subfolder = "sub";
  CHECK(open_checkpoint(locate_model("org/name", subfolder)).tensors.size() == 1);

  for (const char* model : {"org/other", "org/name@v2", "no/such/path", "../name", "org/name@"}) {
    INFO(model);
    CHECK(error_of_call([&] { locate_model(model, options); }).code() == ErrorCode::not_found);
  }
  CHECK(error_of_call([&] { locate_model("org/name@../main", options); }).code() == ErrorCode::unsafe_path);
  subfolder.subfolder = "../../../..";
  CHECK(error_of_call([&] { locate_model("org/name", subfolder); }).code() == ErrorCode::usage);

  hub.write(repository + "/refs/evil", "../../../etc");
  CHECK(error_of_call([&] { locate_model("org/name@evil", options); }).code() == ErrorCode::unsafe_path);

  const TempDirectory outside;
  outside.write("w.safetensors", shard("x"));
  hub.link(repository + "/snapshots/" + std::string(40, 'b') + "/model.safetensors",
           outside / "w.safetensors");
  CHECK(error_of_call([&] {
          open_checkpoint(locate_model("org/name@" + std::string(40, 'b'), options));
        }).code() == ErrorCode::unsafe_path);
}

TEST_CASE("an empty directory says what was looked for", "[model]") {
  const TempDirectory directory;
  CHECK(error_of_call([&] { locate_model(directory.path(), {}); }).code() == ErrorCode::weights_not_found);
}

}  // namespace hfload
