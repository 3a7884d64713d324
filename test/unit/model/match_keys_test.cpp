#include "core/model/match_keys.h"

#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/base/join.h"
#include "core/model/shell.h"
#include "test/support/fixtures.h"

namespace hfload {
namespace {

using namespace test;

Checkpoint open_fixture(const std::string& name) {
  return open_checkpoint(locate_model(fixture_path("checkpoints/" + name), {}));
}

std::vector<uint64_t> shape_of(const ConfigValue& value) {
  std::vector<uint64_t> shape;
  for (const ConfigValue& d : array_of(value)) shape.push_back(uint_of(d));
  return shape;
}

CheckpointTensor& find(Checkpoint& checkpoint, const std::string& name) {
  const auto it =
      std::ranges::find_if(checkpoint.tensors, [&](const CheckpointTensor& t) { return t.name == name; });
  REQUIRE(it != checkpoint.tensors.end());
  return *it;
}

/// The changes that the oracle made to a checkpoint before Python loaded it.
void apply(Checkpoint& checkpoint, const ConfigValue& edit) {
  if (const ConfigValue* removed = edit.find("remove")) {
    for (const std::string& name : strings_of(*removed)) {
      find(checkpoint, name);
      std::erase_if(checkpoint.tensors, [&](const CheckpointTensor& t) { return t.name == name; });
    }
  }
  if (const ConfigValue* renamed = edit.find("rename")) {
    for (const ConfigValue& pair : array_of(*renamed)) {
      find(checkpoint, string_of(array_of(pair)[0])).name = string_of(array_of(pair)[1]);
    }
  }
  if (const ConfigValue* added = edit.find("add")) {
    for (const ConfigValue& row : array_of(*added)) {
      CheckpointTensor t;
      t.name = string_of(array_of(row)[0]);
      t.dtype = dtype_from_torch_name(string_of(array_of(row)[1])).value();
      t.shape = shape_of(array_of(row)[2]);
      t.described = true;
      checkpoint.tensors.push_back(t);
    }
  }
  if (const ConfigValue* reshaped = edit.find("reshape")) {
    for (const ConfigValue& pair : array_of(*reshaped)) {
      find(checkpoint, string_of(array_of(pair)[0])).shape = shape_of(array_of(pair)[1]);
    }
  }
}

void set_class(Checkpoint& checkpoint, const ConfigValue& class_name) {
  ConfigValue::Object config = object_of(checkpoint.config.root());
  std::erase_if(config, [](const auto& member) { return member.first == "architectures"; });
  config.emplace_back("architectures", ConfigValue{ConfigValue::Array{class_name}});
  checkpoint.config = ModelConfig(ConfigValue{config});
}

std::string described(const std::string& name, const std::vector<uint64_t>& checkpoint_shape,
                      const std::vector<uint64_t>& model_shape) {
  return fmt::format("{} [{}] [{}]", name, join(checkpoint_shape, ", "), join(model_shape, ", "));
}

std::vector<std::string> described(const std::vector<MismatchedKey>& keys) {
  std::vector<std::string> texts;
  for (const MismatchedKey& key : keys)
    texts.push_back(described(key.name, key.checkpoint_shape, key.model_shape));
  return texts;
}

/// The oracle's rows: name, shape in the checkpoint, shape in the model.
std::vector<std::string> described(const ConfigValue& rows) {
  std::vector<std::string> texts;
  for (const ConfigValue& row : array_of(rows)) {
    const ConfigValue::Array& parts = array_of(row);
    texts.push_back(described(string_of(parts.at(0)), shape_of(parts.at(1)), shape_of(parts.at(2))));
  }
  return texts;
}

/// What torch says of it. The error is one module's, so that of the name it has the last part alone.
std::string size_mismatch(const MismatchedKey& key) {
  return fmt::format(
      "size mismatch for {}: copying a param with shape torch.Size([{}]) from checkpoint, "
      "the shape in current model is torch.Size([{}]).",
      key.name.substr(key.name.rfind('.') + 1), join(key.checkpoint_shape, ", "),
      join(key.model_shape, ", "));
}

}  // namespace

TEST_CASE("missing, unexpected and mismatched keys are those that from_pretrained finds", "[model]") {
  const std::vector<ConfigValue> cases = read_jsonl_fixture("loading/keys.jsonl");
  REQUIRE(cases.size() >= 200);
  size_t refused = 0, with_mismatched = 0;  // for a shape
  for (const ConfigValue& c : cases) {
    INFO(string_of(at(c, "case")));
    Checkpoint checkpoint = open_fixture(string_of(at(c, "checkpoint")));
    set_class(checkpoint, at(c, "class"));
    apply(checkpoint, at(c, "edit"));
    const Shell shell = build_shell(checkpoint, {});
    const ConfigValue* error = c.find("error");
    if (error != nullptr && string_of(*error).find("corrupted") != std::string::npos) {
      try {
        match_keys(shell.tree, checkpoint);
        FAIL_CHECK("accepted");
      } catch (const Error& e) {
        CHECK(e.code() == ErrorCode::corrupted_state_dict);
        CHECK_FALSE(e.tensor().empty());
      }
      continue;
    }
    const KeyMatches keys = match_keys(shell.tree, checkpoint);
    if (error != nullptr) {
      // from_pretrained stops at the first.
      const auto is_in_error = [&](const MismatchedKey& key) {
        return string_of(*error).find(size_mismatch(key)) != std::string::npos;
      };
      CAPTURE(string_of(*error), described(keys.mismatched_keys));
      CHECK(std::ranges::any_of(keys.mismatched_keys, is_in_error));
      ++refused;
      continue;
    }
    CHECK(keys.missing_keys == strings_of(at(c, "missing_keys")));
    CHECK(keys.unexpected_keys == strings_of(at(c, "unexpected_keys")));
    const std::vector<std::string> mismatched = described(keys.mismatched_keys);
    CHECK(mismatched == described(at(c, "mismatched_keys")));
    if (!mismatched.empty()) ++with_mismatched;
  }
  CHECK(refused >= 20);
  CHECK(with_mismatched >= 20);
}

TEST_CASE("names beyond any model's are matched against no pattern", "[model]") {
  ModuleTree tree;
  tree.ignore_unexpected = {"^mtp.*"};
  tree.key_renames = {{"a+", "b"}};
  Checkpoint checkpoint;
  for (const std::string& name : {"mtp." + std::string(1996, 'm'), "mtp." + std::string(1997, 'm'),
                                  std::string(2000, 'a'), std::string(200'000, 'a')}) {
    CheckpointTensor& t = checkpoint.tensors.emplace_back();
    t.name = name;
    t.described = true;
  }
  const KeyMatches keys = match_keys(tree, checkpoint);
  const std::string last(200'000, 'a'), beyond = "mtp." + std::string(1997, 'm');
  CHECK(keys.unexpected_keys == std::vector<std::string>{last, "b", beyond});
}

TEST_CASE("an unknown architecture has the names of its checkpoint, whatever they are", "[model]") {
  Checkpoint checkpoint;
  for (const char* name : {"", "conv.weight_g", "conv.weight_v", "LayerNorm.gamma", "LayerNorm.beta"}) {
    CheckpointTensor& tensor = checkpoint.tensors.emplace_back();
    tensor.name = name;
    tensor.dtype = Dtype::f32;
    tensor.shape = {2};
    tensor.described = true;
    tensor.end = 8;
  }
  checkpoint.shards.emplace_back();
  const Shell shell = build_shell(checkpoint, {});
  const KeyMatches keys = match_keys(shell.tree, checkpoint);
  CHECK(keys.matches.size() == checkpoint.tensors.size());
  CHECK(keys.missing_keys.empty());
  CHECK(keys.unexpected_keys.empty());
  CHECK(keys.renamed_keys.empty());
}

TEST_CASE("a checkpoint as save_pretrained wrote it fills its shell exactly once", "[model]") {
  for (const char* name : {"bert-base-tiny", "bert-cls-tiny", "bert-legacy-names-tiny", "bert-mlm-tiny",
                           "gpt2-base-tiny", "gpt2-tiny", "llama-base-tiny", "llama-tiny",
                           "llama-tiny-tied-sharded", "mistral-base-tiny", "mistral-tiny", "qwen2-base-tiny",
                           "qwen2-tiny", "t5-encoder-tiny", "t5-v1_0-tiny", "t5-v1_1-tiny-sharded"}) {
    INFO(name);
    const Checkpoint checkpoint = open_fixture(name);
    const Shell shell = build_shell(checkpoint, {});
    const KeyMatches keys = match_keys(shell.tree, checkpoint);
    CHECK(keys.missing_keys.empty());
    CHECK(keys.unexpected_keys.empty());
    CHECK(keys.mismatched_keys.empty());
    std::vector<TensorId> filled, objects;
    for (const KeyMatch& m : keys.matches) filled.push_back(m.shell);
    for (TensorId i = 0; i < shell.tree.tensors.size(); ++i) {
      const ShellTensor& t = shell.tree.tensors[i];
      if (t.object == i && t.persistent) objects.push_back(i);
    }
    std::ranges::sort(filled);
    CHECK(filled == objects);
    CHECK(keys.renamed_keys.empty() == (std::string(name) != "bert-legacy-names-tiny"));
  }
}

TEST_CASE("a head that the config ties and the checkpoint holds is untied by the rules of transformers 5",
          "[model]") {
  // transformers 5.23 on these checkpoints: `lm_head.weight is shared.weight` is False, True and True.
  const auto untied = [](const std::string& name, Compat compat) {
    const Checkpoint checkpoint = open_fixture(name);
    Shell shell = build_shell(checkpoint, {.dtype = std::nullopt, .compat = compat});
    std::vector<std::string> names = untie_saved_parameters(shell.tree, checkpoint);
    const KeyMatches keys = match_keys(shell.tree, checkpoint);
    CHECK(keys.missing_keys.empty());
    CHECK(keys.matches.size() == checkpoint.tensors.size());
    return names;
  };
  CHECK(untied("t5-v1_1-tiny-sharded", Compat::v5) == std::vector<std::string>{"lm_head.weight"});
  CHECK(untied("t5-v1_1-tiny-sharded", Compat::v4).empty());
  CHECK(untied("t5-v1_0-tiny", Compat::v5).empty());
  CHECK(untied("llama-tiny-tied-sharded", Compat::v5).empty());
}

TEST_CASE("a tied tensor saved under both names is read from its first place", "[model]") {
  Checkpoint checkpoint = open_fixture("gpt2-tiny");
  CheckpointTensor head = find(checkpoint, "transformer.wte.weight");
  head.name = "lm_head.weight";
  checkpoint.tensors.insert(checkpoint.tensors.begin(), head);
  const Shell shell = build_shell(checkpoint, {});
  const TensorIndex index(shell.tree);
  const KeyMatches keys = match_keys(shell.tree, checkpoint);
  const auto it = std::ranges::find(keys.matches, index.find("transformer.wte.weight"), &KeyMatch::shell);
  REQUIRE(it != keys.matches.end());
  CHECK(checkpoint.tensors[it->checkpoint].name == "transformer.wte.weight");
  CHECK(std::ranges::count(keys.matches, it->shell, &KeyMatch::shell) == 1);
}

}  // namespace hfload
