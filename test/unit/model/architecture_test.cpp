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

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string text;
  for (const uint64_t d : shape) text += (text.empty() ? "" : "x") + std::to_string(d);
  return text;
}

/// The format that make_modules.py documents.
std::string tree_text(const ModuleTree& tree) {
  std::string text;
  for (ModuleId module = 0; module < tree.modules.size(); ++module) {
    text += "M " + tree.module_name(module) + " " + tree.modules[module].class_name.str() + "\n";
    tree.for_each_tensor_of(module, [&](TensorId id) {
      const ShellTensor& t = tree.tensors[id];
      text += t.is_buffer ? "B " : "P ";
      text +=
          tree.tensor_name(t) + " " + shape_text(t.shape) + " " + std::string(dtype_info(t.dtype).torch_name);
      if (t.is_buffer) text += t.persistent ? " persistent" : " transient";
      text += "\n";
    });
  }
  text.pop_back();
  return text;
}

/// Where two texts part: a few lines of each from the first that differs.
std::string first_difference(const std::string& ours, const std::string& expected) {
  const auto lines = [](const std::string& text) {
    std::vector<std::string> parts;
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size());
      parts.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    return parts;
  };
  const std::vector<std::string> a = lines(ours), b = lines(expected);
  size_t at = 0;
  while (at < a.size() && at < b.size() && a[at] == b[at]) ++at;
  if (at == a.size() && at == b.size()) return "";
  std::string report = "line " + std::to_string(at + 1) + "\n";
  const auto show = [&](const char* title, const std::vector<std::string>& from) {
    report += title;
    for (size_t i = at; i < std::min(at + 6, from.size()); ++i) report += "\n  " + from[i];
    report += "\n";
  };
  show("hfload:", a);
  show("transformers:", b);
  return report;
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

void check_case(const ConfigValue& expected, Compat compat) {
  Checkpoint checkpoint;
  checkpoint.config = ModelConfig(at(expected, "config"));
  checkpoint.has_config = true;
  const Dtype dtype = dtype_from_torch_name(string_of(at(expected, "dtype"))).value();
  const Shell shell = build_shell(checkpoint, {.dtype = dtype, .compat = compat});
  const ModuleTree& tree = shell.tree;
  CHECK(first_difference(tree_text(tree), string_of(at(expected, "tree"))) == "");
  const auto groups = tree.tied_groups();
  CHECK(std::set(groups.begin(), groups.end()) == groups_of(at(expected, "tied")));
  CHECK(sorted(tree.no_split_modules) == strings_of(at(expected, "no_split_modules")));
  CHECK(tree.base_model_prefix == string_of(at(expected, "base_model_prefix")));
  CHECK(sorted(tree.ignore_unexpected) == strings_of(at(expected, "keys_to_ignore_on_load_unexpected")));
  CHECK(sorted(tree.ignore_missing) == strings_of(at(expected, "keys_to_ignore_on_load_missing")));
  CHECK(tree.model_class == string_of(at(expected, "class")));
}

void check_all(const std::string& folder, Compat compat) {
  for (const std::string& file : fixture_files("modules/" + folder)) {
    const std::vector<ConfigValue> cases = read_xz_jsonl_fixture("modules/" + folder + "/" + file);
    REQUIRE(cases.size() >= 2);
    for (const ConfigValue& c : cases) {
      INFO(file << " " << string_of(at(c, "case")) << " " << string_of(at(c, "class")) << " "
                << string_of(at(c, "dtype")));
      check_case(c, compat);
    }
  }
}

}  // namespace

TEST_CASE("the shell of every known architecture is the one that transformers 4 builds", "[model]") {
  check_all("v4", Compat::v4);
}

TEST_CASE("the shell of every known architecture is the one that transformers 5 builds", "[model]") {
  check_all("v5", Compat::v5);
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
          R"({"model_type":"llama","architectures":["LlamaModel"],"head_dim":281474976710656})",
          R"({"model_type":"glm","architectures":["GlmModel"],"partial_rotary_factor":-0.5})",
          R"({"model_type":"stablelm","architectures":["StableLmModel"],"num_attention_heads":7})",
          R"({"model_type":"bert","architectures":["BertModel"],"num_attention_heads":0})",
          R"({"model_type":"bert","architectures":["BertModel"],"num_attention_heads":5})",
          R"({"model_type":"t5","architectures":["T5EncoderModel"],"feed_forward_proj":"open-gelu"})",
          R"({"model_type":"t5","architectures":["T5EncoderModel"],"num_layers":1.5})",
          R"({"model_type":"mamba","architectures":["MambaModel"],"expand":-2})",
          R"({"model_type":"mamba","architectures":["MambaModel"],"time_step_rank":"some"})",
          R"({"model_type":"mamba2","architectures":["Mamba2Model"],"n_groups":0,"state_size":281474976710656})",
          R"({"model_type":"jamba","architectures":["JambaModel"],"attn_layer_period":0})",
          R"({"model_type":"qwen","architectures":["QWenModel"],"num_attention_heads":0})",
          R"({"model_type":"blip-2","architectures":["Blip2Model"],"vision_config":{"patch_size":0}})",
          R"({"model_type":"blip-2","architectures":["Blip2Model"],"qformer_config":{"cross_attention_frequency":0}})",
          R"({"model_type":"longt5","architectures":["LongT5Model"],"encoder_attention_type":"global"})",
          R"({"model_type":"bart","architectures":["BartModel"],"encoder_attention_heads":0})",
          R"({"model_type":"whisper","architectures":["WhisperModel"],"decoder_attention_heads":7})",
          R"({"model_type":"led","architectures":["LEDModel"],"encoder_attention_heads":0})",
          R"({"model_type":"dinov2","architectures":["Dinov2Model"],"mlp_ratio":-1})",
          R"({"model_type":"dinov2","architectures":["Dinov2Model"],"mlp_ratio":1e300})",
      }) {
    INFO(json);
    try {
      build(json);
      FAIL_CHECK("accepted");
    } catch (const Error& e) {
      CHECK(e.code() == ErrorCode::invalid_config);
    }
  }
}

// Products of two numbers that are each accepted. 2^32 * 2^32 wraps to 0, which would be a tensor of no
// bytes.
TEST_CASE("numbers of a config whose product wraps are refused", "[model]") {
  for (
      const char* json : {
          R"({"model_type":"llama","architectures":["LlamaModel"],"hidden_size":64,"num_attention_heads":4294967296,"head_dim":4294967296})",
          R"({"model_type":"llama","architectures":["LlamaModel"],"hidden_size":64,"num_key_value_heads":4294967296,"head_dim":4294967296})",
          R"({"model_type":"phi","architectures":["PhiModel"],"hidden_size":64,"num_key_value_heads":4294967296,"head_dim":4294967296})",
          R"({"model_type":"falcon","architectures":["FalconModel"],"new_decoder_architecture":true,"hidden_size":32768,"num_attention_heads":1,"num_kv_heads":281474976710656})",
          R"({"model_type":"qwen","architectures":["QWenModel"],"num_attention_heads":4294967296,"kv_channels":4294967296})",
          R"({"model_type":"phi3","architectures":["Phi3Model"],"hidden_size":64,"num_attention_heads":4294967296,"head_dim":4294967296})",
          R"({"model_type":"deepseek_v2","architectures":["DeepseekV2Model"],"hidden_size":64,"num_attention_heads":4294967296,"v_head_dim":4294967296,"qk_nope_head_dim":0,"qk_rope_head_dim":0})",
          R"({"model_type":"deepseek_v3","architectures":["DeepseekV3Model"],"hidden_size":64,"num_attention_heads":4294967296,"qk_nope_head_dim":4294967296,"qk_rope_head_dim":0,"v_head_dim":0})",
          R"({"model_type":"deepseek_v3","architectures":["DeepseekV3Model"],"hidden_size":64,"first_k_dense_replace":0,"n_shared_experts":4294967296,"moe_intermediate_size":4294967296,"n_routed_experts":0})",
          R"({"model_type":"t5","architectures":["T5EncoderModel"],"num_heads":4294967296,"d_kv":4294967296,"d_model":8,"relative_attention_num_buckets":1})",
          R"({"model_type":"deberta-v2","architectures":["DebertaV2Model"],"hidden_size":0,"num_attention_heads":4294967296,"attention_head_size":4294967296})",
          R"({"model_type":"bert","architectures":["BertModel"],"position_embedding_type":"relative_key","max_position_embeddings":0,"hidden_size":0})",
          R"({"model_type":"qwen2_vl","architectures":["Qwen2VLModel"],"vision_config":{"embed_dim":64,"spatial_merge_size":4294967296}})",
      }) {
    INFO(json);
    Checkpoint checkpoint;
    checkpoint.has_config = true;
    checkpoint.config = parse_model_config(json);
    try {
      build_shell(checkpoint, {});
      FAIL_CHECK("accepted");
    } catch (const Error& e) {
      CHECK(e.code() == ErrorCode::invalid_config);
    }
  }
  Checkpoint vit;
  vit.has_config = true;
  vit.config = parse_model_config(
      R"({"model_type":"vit","architectures":["ViTModel"],"hidden_size":0,"num_attention_heads":4294967296,"head_dim":4294967296})");
  CHECK_THROWS_AS(build_shell(vit, {.dtype = std::nullopt, .compat = Compat::v5}), Error);
}

// InternLM is no class of transformers, so no fixture has it: its checkpoints are loaded by code beside them,
// whose parameters are those of a Llama with attention biases.
TEST_CASE("InternLM has the parameters of a Llama with biases", "[model]") {
  const auto parameters = [](const char* json) {
    Checkpoint checkpoint;
    checkpoint.has_config = true;
    checkpoint.config = parse_model_config(json);
    const Shell shell = build_shell(checkpoint, {});
    std::set<std::string> found;
    for (const ShellTensor& t : shell.tree.tensors)
      if (!t.is_buffer) found.insert(t.name.str() + " " + shape_text(t.shape));
    return found;
  };
  CHECK(parameters(R"({"model_type":"internlm","architectures":["InternLMForCausalLM"],"bias":true,
                       "vocab_size":64,"num_hidden_layers":2})") ==
        parameters(R"({"model_type":"llama","architectures":["LlamaForCausalLM"],"attention_bias":true,
                       "vocab_size":64,"num_hidden_layers":2})"));
}

TEST_CASE("an unknown class or architecture without tensors says so", "[model]") {
  for (const char* json : {R"({"model_type":"made_up","architectures":["MadeUpModel"]})",
                           R"({"model_type":"bert","architectures":["BertForDreaming"]})", R"({})",
                           R"({"model_type":"llava","architectures":["LlavaModel"],)"
                           R"("vision_config":{"model_type":"made_up"}})"}) {
    Checkpoint checkpoint;
    checkpoint.has_config = true;
    checkpoint.config = parse_model_config(json);
    try {
      build_shell(checkpoint, {});
      FAIL_CHECK("accepted");
    } catch (const Error& e) {
      CHECK(e.code() == ErrorCode::unsupported_architecture);
    }
  }
}

}  // namespace hfload
