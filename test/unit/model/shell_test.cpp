#include "core/model/shell.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "test/support/fixtures.h"

namespace hfload {
namespace {

using namespace test;

CheckpointTensor tensor(const std::string& name, Dtype dtype, std::vector<uint64_t> shape,
                        uint32_t shard = 0) {
  CheckpointTensor t;
  t.name = name;
  t.dtype = dtype;
  t.shape = std::move(shape);
  t.shard = shard;
  t.described = true;
  t.end = tensor_bytes(t.dtype, t.shape).value();
  return t;
}

CheckpointTensor named_only(const std::string& name) {
  CheckpointTensor t;
  t.name = name;
  return t;
}

std::vector<std::string> module_names(const ModuleTree& tree) {
  std::vector<std::string> names;
  for (ModuleId m = 0; m < tree.modules.size(); ++m) names.push_back(tree.module_name(m));
  return names;
}

}  // namespace

TEST_CASE("auto resolves to the dtype that transformers 4.57 takes", "[model]") {
  const ConfigValue fixture = read_json_fixture("transformers_dtype.json");
  size_t checked = 0;
  for (const ConfigValue& c : array_of(at(fixture, "cases"))) {
    const auto* argument = std::get_if<std::string>(&at(c, "argument").value);
    if (argument == nullptr || *argument != "auto") continue;
    const ConfigValue* expected = c.find("expected");
    const auto* python = expected == nullptr ? nullptr : std::get_if<std::string>(&expected->value);
    if (python == nullptr) continue;
    Checkpoint checkpoint;
    checkpoint.has_config = true;
    checkpoint.config = ModelConfig(at(c, "config"));
    if (const ConfigValue& metadata = at(c, "metadata"); !metadata.is_null()) {
      if (const ConfigValue* dtype = metadata.find("dtype")) checkpoint.index_dtype = string_of(*dtype);
    }
    uint32_t shard = 0;
    for (const ConfigValue& file : array_of(at(c, "tensors"))) {
      for (const ConfigValue& row : array_of(file)) {
        const Dtype dtype = dtype_from_torch_name(string_of(array_of(row)[1])).value();
        checkpoint.tensors.push_back(tensor(string_of(array_of(row)[0]), dtype, {2}, shard));
      }
      ++shard;
    }
    CHECK(dtype_info(resolve_auto_dtype(checkpoint)).torch_name == *python);
    ++checked;
  }
  CHECK(checked >= 20);
}

TEST_CASE("an unknown architecture gets its tree from its tensor names", "[model]") {
  Checkpoint checkpoint;
  checkpoint.has_config = true;
  checkpoint.config =
      parse_model_config(R"({"model_type":"made_up","architectures":["MadeUp"],"torch_dtype":"bfloat16"})");
  checkpoint.tensors = {tensor("lm_head.weight", Dtype::f32, {8, 4}),
                        tensor("model.layers.10.mlp.experts.0.w", Dtype::f16, {4}),
                        tensor("model.layers.10.mlp.experts.1.w", Dtype::f16, {4}),
                        tensor("model.layers.2.mlp.w", Dtype::f32, {4}),
                        tensor("model.norm.weight", Dtype::i64, {4}),
                        tensor("model.embed_tokens.weight", Dtype::u8, {8, 4})};
  const Shell shell = build_shell(checkpoint, {});
  const ModuleTree& tree = shell.tree;
  CHECK(shell.dtype == Dtype::bf16);
  CHECK(tree.from_tensor_names);
  CHECK_FALSE(tree.estimated_bytes);
  CHECK(module_names(tree) ==
        std::vector<std::string>{"", "model", "model.embed_tokens", "model.layers", "model.layers.2",
                                 "model.layers.2.mlp", "model.layers.10", "model.layers.10.mlp",
                                 "model.layers.10.mlp.experts", "model.layers.10.mlp.experts.0",
                                 "model.layers.10.mlp.experts.1", "model.norm", "lm_head"});
  CHECK(tree.no_split_modules == std::vector<std::string>{"model.layers.#"});
  const TensorIndex index(tree);
  CHECK(tree.modules[ModuleIndex(tree).find("model.layers.10")].class_name == "model.layers.#");
  CHECK(tree.tensors[index.find("lm_head.weight")].dtype == Dtype::bf16);
  CHECK(tree.tensors[index.find("model.embed_tokens.weight")].dtype == Dtype::u8);
  CHECK(tree.tensors[index.find("model.norm.weight")].dtype == Dtype::i64);
  REQUIRE(shell.warnings.size() == 1);
  CHECK(shell.warnings[0].find("made_up") != std::string::npos);
}

TEST_CASE("a tensor whose name begins with another's name lies in the same module", "[model]") {
  Checkpoint checkpoint;
  for (const char* name :
       {"fc.weight", "fc.weight.absmax", "fc.weight.quant_state.nf4", "w", "w.scale.a", ""})
    checkpoint.tensors.push_back(tensor(name, Dtype::f32, {4}));
  const ModuleTree tree = build_shell(checkpoint, {}).tree;
  CHECK(module_names(tree) == std::vector<std::string>{"", "fc"});
  CHECK(tree.modules[1].parameters.size() == 3);
  CHECK(tree.tensors.size() == checkpoint.tensors.size());
  const TensorIndex index(tree);
  for (const CheckpointTensor& t : checkpoint.tensors) CHECK(index.find(t.name) != kNoId);
}

TEST_CASE("tensors without a header are as large as the dtype asked for makes them", "[model]") {
  Checkpoint checkpoint;
  checkpoint.has_config = true;
  checkpoint.config = parse_model_config(R"({"model_type":"made_up","torch_dtype":"bfloat16"})");
  checkpoint.index_total_size_bytes = 2 * 1000;
  checkpoint.tensors = {named_only("a.weight"), named_only("b.weight")};
  const auto bytes = [&](std::optional<Dtype> dtype) {
    uint64_t total = 0;
    for (const ShellTensor& t : build_shell(checkpoint, {.dtype = dtype}).tree.tensors)
      total += shell_tensor_bytes(t);
    return total;
  };
  CHECK(bytes(std::nullopt) == 2000);
  CHECK(bytes(Dtype::f32) == 4000);
  CHECK(bytes(Dtype::f16) == 2000);
}

TEST_CASE("a composite config alone has the dtype of its text model", "[model]") {
  Checkpoint checkpoint;
  checkpoint.has_config = true;
  checkpoint.config = parse_model_config(
      R"({"model_type":"qwen3_vl","architectures":["Qwen3VLForConditionalGeneration"],
          "vision_config":{"depth":1},"text_config":{"num_hidden_layers":1,"dtype":"bfloat16"}})");
  const Shell shell = build_shell(checkpoint, {});
  CHECK(shell.dtype == Dtype::bf16);
  REQUIRE(shell.warnings.size() == 1);
  CHECK(shell.warnings[0].find("text_config") != std::string::npos);
}

TEST_CASE("a known class with a part that is not gets its tree from its tensor names", "[model]") {
  for (
      const char* json : {
          R"({"model_type":"llava","architectures":["LlavaModel"],"vision_config":{"model_type":"made_up"}})",
          R"({"model_type":"kimi_k2","architectures":["DeepseekV3ForCausalLM"],"group_query_attention":true})",
      }) {
    Checkpoint checkpoint;
    checkpoint.has_config = true;
    checkpoint.config = parse_model_config(json);
    checkpoint.tensors = {tensor("model.layers.0.w", Dtype::f16, {4})};
    const Shell shell = build_shell(checkpoint, {});
    CHECK(module_names(shell.tree) ==
          std::vector<std::string>{"", "model", "model.layers", "model.layers.0"});
    CHECK(shell.warnings.size() == 1);
    checkpoint.tensors.clear();
    CHECK_THROWS_AS(build_shell(checkpoint, {}), Error);
  }
}

TEST_CASE("a quantised checkpoint of an unknown architecture keeps its dtypes", "[model]") {
  Checkpoint checkpoint;
  checkpoint.has_config = true;
  checkpoint.config = parse_model_config(
      R"({"model_type":"made_up","torch_dtype":"bfloat16","quantization_config":{"bits":4}})");
  checkpoint.tensors = {tensor("a.scale", Dtype::f32, {4}), tensor("a.blocks", Dtype::u8, {4})};
  const Shell shell = build_shell(checkpoint, {});
  CHECK(shell.tree.tensors[0].dtype == Dtype::f32);
}

TEST_CASE("sizes of tensors in absent shards share the index's total", "[model]") {
  Checkpoint checkpoint;
  checkpoint.has_config = true;
  checkpoint.config =
      parse_model_config(R"({"model_type":"made_up","torch_dtype":"float16","hidden_size":10})");
  checkpoint.index_total_size_bytes = 1020;
  checkpoint.tensors = {named_only("h.0.w"), named_only("h.0.norm.weight"), named_only("h.1.w"),
                        named_only("h.1.v")};
  const Shell shell = build_shell(checkpoint, {});
  CHECK(shell.tree.estimated_bytes);
  uint64_t total = 0;
  for (const ShellTensor& t : shell.tree.tensors) total += shell_tensor_bytes(t);
  CHECK(total == 1020);
  const TensorIndex index(shell.tree);
  CHECK(shell.tree.tensors[index.find("h.0.norm.weight")].shape == std::vector<uint64_t>{10});
  CHECK(shell.warnings.size() == 2);

  checkpoint.index_total_size_bytes.reset();
  CHECK_THROWS_AS(build_shell(checkpoint, {}), Error);
}

TEST_CASE("names that are no dotted paths stay whole", "[model]") {
  Checkpoint checkpoint;
  checkpoint.tensors = {tensor("", Dtype::f32, {1}),     tensor(".a", Dtype::f32, {1}),
                        tensor("a..b", Dtype::f32, {1}), tensor("a.", Dtype::f32, {1}),
                        tensor("a", Dtype::f32, {1}),    tensor("a.b", Dtype::f32, {1})};
  const Shell shell = build_shell(checkpoint, {});
  // "a" is a tensor, and so no module.
  CHECK(module_names(shell.tree) == std::vector<std::string>{""});
  CHECK(shell.tree.modules[0].parameters.size() == 6);

  std::string deep = "a";
  for (int i = 0; i < 200; ++i) deep += ".a";
  for (const std::string& name : {deep, "." + deep}) {
    checkpoint.tensors = {tensor(name, Dtype::f32, {1})};
    CHECK_THROWS_AS(build_shell(checkpoint, {}), Error);
  }
}

TEST_CASE("the old spelling of a class is understood and said", "[model]") {
  Checkpoint checkpoint;
  checkpoint.has_config = true;
  checkpoint.config = parse_model_config(
      R"({"model_type":"llama","architectures":["LLaMAForCausalLM"],"num_hidden_layers":1})");
  Shell shell = build_shell(checkpoint, {});
  CHECK(shell.tree.model_class == "LlamaForCausalLM");
  CHECK(shell.warnings.size() == 1);
  checkpoint.config =
      parse_model_config(R"({"model_type":"t5","architectures":["T5WithLMHeadModel"],"num_layers":1})");
  shell = build_shell(checkpoint, {});
  CHECK(shell.tree.model_class == "T5ForConditionalGeneration");
  CHECK(shell.warnings.size() == 1);
}

}  // namespace hfload
