#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "core/base/error.h"
#include "core/model/architecture.h"
#include "core/model/shell.h"
#include "test/support/fixtures.h"

namespace hfload {
namespace {

using namespace test;

using Row = std::vector<std::string>;

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string text;
  for (const uint64_t d : shape) text += std::to_string(d) + ",";
  return text;
}

std::string shape_text(const ConfigValue& shape) {
  std::vector<uint64_t> dims;
  for (const ConfigValue& d : array_of(shape)) dims.push_back(uint_of(d));
  return shape_text(dims);
}

std::set<std::vector<std::string>> groups_of(const ConfigValue& value) {
  std::set<std::vector<std::string>> groups;
  for (const ConfigValue& group : array_of(value)) groups.insert(strings_of(group));
  return groups;
}

std::vector<std::string> sorted(std::vector<std::string> values) {
  std::ranges::sort(values);
  return values;
}

void check_case(const ConfigValue& expected) {
  Checkpoint checkpoint;
  checkpoint.config = ModelConfig(at(expected, "config"));
  checkpoint.has_config = true;
  const Dtype dtype = dtype_from_torch_name(string_of(at(expected, "dtype"))).value();
  const Shell shell = build_shell(checkpoint, {.dtype = dtype});
  const ModuleTree& tree = shell.tree;

  std::vector<Row> modules, parameters, buffers;
  for (const ConfigValue& m : array_of(at(expected, "modules"))) modules.push_back(strings_of(m));
  const std::vector<std::string> kept = strings_of(at(expected, "keep_in_fp32"));
  for (const ConfigValue& p : array_of(at(expected, "parameters"))) {
    const ConfigValue::Array& row = array_of(p);
    const bool keeps = std::ranges::find(kept, string_of(row[0])) != kept.end();
    parameters.push_back({string_of(row[0]), shape_text(row[1]), keeps ? "float32" : string_of(row[2])});
  }
  for (const ConfigValue& b : array_of(at(expected, "buffers"))) {
    const ConfigValue::Array& row = array_of(b);
    buffers.push_back(
        {string_of(row[0]), shape_text(row[1]), string_of(row[2]), bool_of(row[3]) ? "persistent" : "not"});
  }

  std::vector<Row> our_modules, our_parameters, our_buffers;
  for (const Module& m : tree.modules) our_modules.push_back({m.name, m.class_name});
  for (const ShellTensor& t : tree.tensors) {
    Row row{t.name, shape_text(t.shape), std::string(dtype_info(t.dtype).torch_name)};
    if (t.is_buffer) {
      row.push_back(t.persistent ? "persistent" : "not");
      our_buffers.push_back(row);
    } else {
      our_parameters.push_back(row);
    }
  }
  CHECK(our_modules == modules);
  CHECK(our_parameters == parameters);
  CHECK(our_buffers == buffers);
  const auto groups = tree.tied_groups();
  CHECK(std::set(groups.begin(), groups.end()) == groups_of(at(expected, "tied")));
  CHECK(sorted(tree.no_split_modules) == sorted(strings_of(at(expected, "no_split_modules"))));
  CHECK(tree.base_model_prefix == string_of(at(expected, "base_model_prefix")));
  CHECK(tree.ignore_unexpected == (at(expected, "keys_to_ignore_on_load_unexpected").is_null()
                                       ? std::vector<std::string>{}
                                       : strings_of(at(expected, "keys_to_ignore_on_load_unexpected"))));
  CHECK(tree.ignore_missing == (at(expected, "keys_to_ignore_on_load_missing").is_null()
                                    ? std::vector<std::string>{}
                                    : strings_of(at(expected, "keys_to_ignore_on_load_missing"))));
  CHECK(tree.model_class == string_of(at(expected, "class")));
}

}  // namespace

TEST_CASE("the shell of every known architecture is the one that transformers builds", "[model]") {
  for (const char* family : {"bert", "gpt2", "llama", "mistral", "qwen2", "t5"}) {
    const ConfigValue fixture = read_json_fixture(std::string("modules/") + family + ".json");
    const ConfigValue::Array& cases = array_of(at(fixture, "cases"));
    REQUIRE(cases.size() >= 3);
    for (const ConfigValue& c : cases) {
      DYNAMIC_SECTION(family << " " << string_of(at(c, "case")) << " " << string_of(at(c, "class")) << " "
                             << string_of(at(c, "dtype"))) {
        check_case(c);
      }
    }
  }
}

TEST_CASE("the registry is sorted and every class can be built from an empty config", "[model]") {
  CHECK(std::ranges::is_sorted(architectures(), {}, [](const Architecture* a) { return a->model_type; }));
  for (const Architecture* a : architectures()) {
    CHECK(find_architecture(a->model_type) == a);
    for (const ModelClass& c : a->classes) {
      Checkpoint checkpoint;
      checkpoint.has_config = true;
      ConfigValue::Object object;
      object.emplace_back("model_type", ConfigValue{std::string(a->model_type)});
      object.emplace_back("architectures", ConfigValue{ConfigValue::Array{ConfigValue{std::string(c.name)}}});
      checkpoint.config = ModelConfig(ConfigValue{object});
      const Shell shell = build_shell(checkpoint, {});
      CHECK(shell.tree.model_class == c.name);
      CHECK(shell.dtype == Dtype::f32);
      CHECK(shell.warnings.empty());
    }
  }
}

TEST_CASE("absurd configs are refused", "[model]") {
  const auto build = [](const char* json) {
    Checkpoint checkpoint;
    checkpoint.has_config = true;
    checkpoint.config = parse_model_config(json);
    return build_shell(checkpoint, {});
  };
  for (
      const char* json : {
          R"({"model_type":"llama","architectures":["LlamaModel"],"num_hidden_layers":100000000000})",
          R"({"model_type":"llama","architectures":["LlamaModel"],"hidden_size":-4})",
          R"({"model_type":"llama","architectures":["LlamaModel"],"hidden_size":"wide"})",
          R"({"model_type":"llama","architectures":["LlamaModel"],"vocab_size":281474976710656,"hidden_size":281474976710656})",
          R"({"model_type":"llama","architectures":["LlamaModel"],"hidden_act":"nonsense"})",
          R"({"model_type":"bert","architectures":["BertModel"],"num_attention_heads":0})",
          R"({"model_type":"bert","architectures":["BertModel"],"num_attention_heads":5})",
          R"({"model_type":"t5","architectures":["T5EncoderModel"],"feed_forward_proj":"open-gelu"})",
          R"({"model_type":"t5","architectures":["T5EncoderModel"],"num_layers":1.5})",
      }) {
    INFO(json);
    try {
      build(json);
      FAIL("accepted");
    } catch (const Error& e) {
      CHECK(e.code() == ErrorCode::invalid_config);
    }
  }
}

TEST_CASE("an unknown class or architecture without tensors says so", "[model]") {
  for (const char* json : {R"({"model_type":"made_up","architectures":["MadeUpModel"]})",
                           R"({"model_type":"bert","architectures":["BertForDreaming"]})", R"({})"}) {
    Checkpoint checkpoint;
    checkpoint.has_config = true;
    checkpoint.config = parse_model_config(json);
    try {
      build_shell(checkpoint, {});
      FAIL("accepted");
    } catch (const Error& e) {
      CHECK(e.code() == ErrorCode::unsupported_architecture);
    }
  }
}

}  // namespace hfload
