#include "core/model/checkpoint.h"

#include <fmt/core.h>

#include <algorithm>
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

TEST_CASE("the headers of the shards hold where the index says otherwise", "[model]") {
  const TempDirectory directory;
  directory.write("a.safetensors",
                  CheckpointBuilder().filled("x", "F32", {4}, 16).filled("z", "F32", {4}, 16).bytes());
  directory.write("b.safetensors",
                  CheckpointBuilder().filled("w", "F32", {4}, 16).filled("z", "F32", {2}, 8).bytes());
  directory.write("model.safetensors.index.json", index_of({{"x", "b.safetensors"},
                                                            {"y", "a.safetensors"},
                                                            {"z", "a.safetensors"},
                                                            {"gone", "c.safetensors"},
                                                            {"w", "c.safetensors"}}));
  const ModelLocation location = locate_model(directory.path(), {});
  const Checkpoint checkpoint = open_checkpoint(location);
  // x of a, w and z of b, as transformers loads a before b, and "gone" of a shard that is absent.
  REQUIRE(checkpoint.tensors.size() == 4);
  std::vector<std::string> found;
  for (const CheckpointTensor& t : checkpoint.tensors)
    found.push_back(fmt::format("{} {} {}", t.name.str(), checkpoint.shards[t.shard].file, t.bytes()));
  CHECK(found == std::vector<std::string>{"x a.safetensors 16", "w b.safetensors 16", "z b.safetensors 8",
                                          "gone c.safetensors 0"});
  CHECK(checkpoint.shards[0].tensor_count == 1);
  CHECK(checkpoint.shards[1].tensor_count == 2);
  CHECK(checkpoint.shards[2].tensor_count == 1);
  CHECK(checkpoint.warnings.size() == 3);

  std::vector<Finding> findings;
  open_damaged_checkpoint(location, findings);
  const auto names_of = [&](std::string_view code) {
    const auto finding = std::ranges::find(findings, code, &Finding::code);
    return finding == findings.end() ? std::vector<std::string>{} : finding->names;
  };
  CHECK(names_of("tensor_not_in_shard") == std::vector<std::string>{"y"});
  CHECK(names_of("tensor_in_other_shard") == std::vector<std::string>{"w", "x", "z"});
  CHECK(names_of("repeated_tensors") == std::vector<std::string>{"z"});

  const TempDirectory extra;
  extra.write("a.safetensors",
              CheckpointBuilder().filled("x", "F32", {4}, 16).filled("z", "F32", {4}, 16).bytes());
  extra.write("model.safetensors.index.json", index_of({{"x", "a.safetensors"}}));
  const Checkpoint with_extra = open_checkpoint(locate_model(extra.path(), {}));
  CHECK(with_extra.tensors.size() == 2);
  REQUIRE(with_extra.warnings.size() == 1);
  CHECK(with_extra.warnings[0].find("'z'") != std::string::npos);
}

TEST_CASE("links lead wherever the owner of the disk points them, and paths of an index do not", "[model]") {
  const TempDirectory directory;
  const TempDirectory outside;
  outside.write("store/w.safetensors", shard("x"));
  outside.write("store/config.json", kConfig);
  outside.write("store/i.json", index_of({{"x", "./a.safetensors"}}));
  directory.link("a.safetensors", outside / "store/w.safetensors");
  directory.link("config.json", outside / "store/config.json");
  directory.link("model.safetensors.index.json", outside / "store/i.json");
  const Checkpoint checkpoint = open_checkpoint(locate_model(directory.path(), {}));
  CHECK(checkpoint.has_config);
  CHECK(checkpoint.tensors.size() == 1);
  CHECK(reopen_shard(checkpoint, 0).identity == checkpoint.shards[0].identity);

  const TempDirectory hostile;
  hostile.write("model.safetensors.index.json",
                index_of({{"x", "../" + outside.path() + "/store/w.safetensors"}}));
  CHECK(error_of_call([&] { open_checkpoint(locate_model(hostile.path(), {})); }).code() ==
        ErrorCode::unsafe_path);
}

TEST_CASE("weights of other layouts are found, or named for what they are", "[model]") {
  const auto located = [](const TempDirectory& directory, const std::string& variant = "") {
    return locate_model(directory.path(), {.variant = variant});
  };
  const auto refused = [&](const TempDirectory& directory) {
    return error_of_call([&] { located(directory); });
  };
  {
    const TempDirectory component;
    component.write("config.json", R"({"_class_name":"UNet2DConditionModel"})");
    component.write("diffusion_pytorch_model.fp16.safetensors", shard("x"));
    CHECK(located(component, "fp16").weights_path == component / "diffusion_pytorch_model.fp16.safetensors");
    CHECK(located(component).weights_path.empty());
    CHECK(located(component).variants_hint == "fp16");
    component.write("diffusion_pytorch_model.safetensors", shard("x"));
    CHECK(located(component).weights_path == component / "diffusion_pytorch_model.safetensors");
  }
  {
    const TempDirectory adapter;
    adapter.write("adapter_config.json", R"({"peft_type":"LORA","base_model_name_or_path":"org/base"})");
    adapter.write("adapter_model.safetensors", shard("x"));
    const Checkpoint checkpoint = open_checkpoint(located(adapter));
    CHECK(checkpoint.tensors.size() == 1);
    REQUIRE(checkpoint.warnings.size() == 1);
    CHECK(checkpoint.warnings[0].find("(LORA) of org/base") != std::string::npos);
  }
  {
    const TempDirectory shards;
    shards.write("model-00001-of-00002.safetensors", shard("x"));
    shards.write("._model-00001-of-00002.safetensors", "Mac OS X");
    shards.write("optimizer-00001-of-00003.bin", "");
    Checkpoint checkpoint = open_checkpoint(located(shards));
    REQUIRE(checkpoint.shards.size() == 2);
    CHECK(checkpoint.first_missing_shard()->file == "model-00002-of-00002.safetensors");
    shards.write("model-00002-of-00002.safetensors", shard("y"));
    checkpoint = open_checkpoint(located(shards));
    CHECK(checkpoint.complete());
    CHECK(checkpoint.tensors.size() == 2);
    CHECK(open_shard(checkpoint, 1).identity == checkpoint.shards[1].identity);
  }
  {
    const TempDirectory one;
    one.write("sd_xl_base_1.0.safetensors", shard("x"));
    one.write("training_args.bin", read_file(fixture_path("torch/views.pt")));
    one.write(".DS_Store", "Bud1");
    CHECK(located(one).weights_path == one / "sd_xl_base_1.0.safetensors");
    one.write("vae.safetensors", shard("y"));
    CHECK(refused(one).code() == ErrorCode::weights_not_found);
    CHECK(refused(one).message().find("sd_xl_base_1.0.safetensors, vae.safetensors") != std::string::npos);
    one.write("config.json", kConfig);
    CHECK(located(one).weights_path.empty());
    CHECK(located(one).obstacle.has_value());
  }
  const std::pair<std::vector<std::string>, std::string> named[] = {
      {{"model-Q4_K_M.gguf"}, "GGUF"},
      {{"__0_0.distcp", ".metadata"}, "DCP"},
      {{"zero_pp_rank_0_mp_rank_00_model_states.pt"}, "DeepSpeed"},
      {{"consolidated.00.pth", "consolidated.01.pth"}, "Meta"},
      {{"unet/diffusion_pytorch_model.safetensors", "model_index.json"}, "pipeline"},
      {{"checkpoint-500/model.safetensors"}, "checkpoint-500"},
  };
  for (const auto& [files, word] : named) {
    const TempDirectory folder;
    for (const std::string& file : files) folder.write(file, "x");
    INFO(word);
    CHECK(refused(folder).message().find(word) != std::string::npos);
    CHECK_FALSE(refused(folder).hint().empty());
  }
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
}

TEST_CASE("the first bytes of a file say what it is where its name says another thing", "[model]") {
  const TempDirectory directory;
  const auto opened = [&](const std::string& name) {
    return open_checkpoint(locate_model(directory / name, {}));
  };
  const std::string torch = read_file(fixture_path("torch/views.pt")),
                    legacy = read_file(fixture_path("torch/views_legacy.pt"));
  for (const std::string& content : {torch, legacy}) {
    directory.write("a.safetensors", content);
    const Checkpoint checkpoint = opened("a.safetensors");
    CHECK(checkpoint.shards.at(0).format == ShardFormat::pytorch);
    CHECK(checkpoint.warnings.at(0).find("PyTorch checkpoint, whatever its name says") != std::string::npos);
  }
  // A header that white space precedes, of lengths that look like the start of a pickle.
  const std::string header = R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})";
  const std::string padded = " " + header + std::string(640 - header.size() - 1, ' ');
  directory.write("a.safetensors", std::string("\x80\x02\0\0\0\0\0\0", 8) + padded + "xy");
  CHECK(opened("a.safetensors").shards.at(0).format == ShardFormat::safetensors);

  directory.write("model/pytorch_model.bin", shard("x"));
  CHECK(opened("model").shards.at(0).format == ShardFormat::safetensors);
  CHECK(opened("model").warnings.at(0).find("safetensors file, whatever") != std::string::npos);
  directory.write("sharded/model.safetensors.index.json", R"({"weight_map":{"base":"a.safetensors"}})");
  directory.write("sharded/a.safetensors", torch);
  CHECK(opened("sharded").shards.at(0).format == ShardFormat::pytorch);
  directory.write("sharded/model.safetensors.index.json", R"({"weight_map":{"x":"a.bin"}})");
  directory.write("sharded/a.bin", shard("x"));
  CHECK(opened("sharded").shards.at(0).format == ShardFormat::safetensors);

  using namespace std::string_literals;
  for (const auto& [start, name] : {std::pair("GGUF\x03\0\0\0"s, "GGUF"), {"\x89HDF\r\n\x1a\n"s, "HDF5"}}) {
    directory.write("model/pytorch_model.bin", start);
    const Error error = error_of_call([&] { opened("model"); });
    CHECK(error.code() == ErrorCode::unsupported_format);
    CHECK(error.message().find(name) != std::string::npos);
  }
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
  CHECK(open_checkpoint(locate_model("org/name@" + std::string(40, 'b'), options)).tensors.size() == 1);

  // huggingface_hub 1.32 and later: blobs are links into a store that all repositories share.
  hub.write("blobs/ab/" + std::string(64, 'e'), shard("x"));
  hub.link(repository + "/blobs/9999", "../../blobs/ab/" + std::string(64, 'e'));
  hub.link(repository + "/snapshots/" + std::string(40, 'c') + "/model.safetensors", "../../blobs/9999");
  CHECK(open_checkpoint(locate_model("org/name@" + std::string(40, 'c'), options)).tensors.size() == 1);
}

TEST_CASE("an empty directory says what was looked for", "[model]") {
  const TempDirectory directory;
  CHECK(error_of_call([&] { locate_model(directory.path(), {}); }).code() == ErrorCode::weights_not_found);
}

}  // namespace hfload
