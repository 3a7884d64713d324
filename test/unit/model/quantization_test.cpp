#include "core/model/quantization.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "core/base/error.h"
#include "core/model/findings.h"
#include "core/model/match_keys.h"
#include "core/model/quantized_shape.h"
#include "core/model/shell.h"
#include "test/support/quantized_fixtures.h"

namespace hfload {
namespace {

using namespace test;

using Method = Quantization::Method;
using Scales = Quantization::Scales;

Quantization read(const std::string& section) {
  return read_quantization(parse_model_config(R"({"quantization_config":)" + section + "}")).value();
}

const std::string kLlama =
    R"("model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":64,"intermediate_size":96,
       "num_hidden_layers":1,"num_attention_heads":4,"vocab_size":80,"dtype":"float16")";

Checkpoint named_llama(const std::string& section, const std::vector<std::string>& names,
                       const std::string& more = "") {
  Checkpoint checkpoint;
  checkpoint.has_config = true;
  checkpoint.config = parse_model_config("{" + kLlama + more + R"(,"quantization_config":)" + section + "}");
  for (const std::string& name : names) checkpoint.tensors.emplace_back().name = name;
  return checkpoint;
}

const ShellTensor& tensor_of(const ModuleTree& tree, const std::string& name) {
  const TensorId id = TensorIndex(tree).find(name);
  REQUIRE(id != kNoId);
  return tree.tensors[id];
}

std::vector<std::string> findings_of(const Shell& shell, const Checkpoint& checkpoint) {
  std::vector<std::string> messages;
  for (const Finding& finding : compare_with_checkpoint(shell, checkpoint).findings)
    messages.push_back(finding.message);
  return messages;
}

const std::string kQ = "model.layers.0.self_attn.q_proj.";

}  // namespace

// bitsandbytes and compressed-tensors wrote these headers themselves; those of fp8, mxfp4, AWQ and GPTQ are
// of the packages' modules (see make_quantized.py). Where GPTQ leaves out a bias is stated there, not asked.
TEST_CASE("a quantised checkpoint is sized by what it stores", "[model]") {
  const auto compat = GENERATE(Compat::v4, Compat::v5);
  size_t checked = 0, unmatched = 0;
  for (const ConfigValue& c : quantized_cases()) {
    const std::string name = string_of(at(c, "case"));
    // transformers 5 puts the experts of a layer into one tensor.
    if (compat == Compat::v5 && (name.ends_with("mixtral") || name.find("-moe") != std::string::npos ||
                                 name.find("mixtral-") != std::string::npos || name == "fp8-deepseek-v3")) {
      ++unmatched;
      INFO(name);
      const Shell shell =
          build_shell(quantized_checkpoint(c, true), {.dtype = std::nullopt, .compat = compat});
      REQUIRE(shell.warnings.size() == 1);
      CHECK(shell.warnings[0].find("--compat 4") != std::string::npos);
      continue;
    }
    INFO(name);
    const Checkpoint checkpoint = quantized_checkpoint(c, true);
    const Shell shell = build_shell(checkpoint, {.dtype = std::nullopt, .compat = compat});
    CHECK(shell.warnings.empty());
    CHECK_FALSE(shell.tree.estimated_bytes);
    CHECK(shell.tree.parameter_count() == uint_of(at(c, "parameters")));
    const KeyMatches keys = match_keys(shell.tree, checkpoint);
    CHECK(keys.missing_keys == std::vector<std::string>{});
    CHECK(keys.unexpected_keys == std::vector<std::string>{});
    CHECK(keys.mismatched_keys.empty());
    CHECK(keys.matches.size() == checkpoint.tensors.size());
    CHECK(findings_of(shell, checkpoint) == std::vector<std::string>{});
    uint64_t bytes = 0;
    for (const KeyMatch& match : keys.matches) {
      const ShellTensor& tensor = shell.tree.tensors[match.shell];
      INFO(tensor.name.view());
      CHECK(tensor.dtype == checkpoint.tensors[match.checkpoint].dtype);
      CHECK(tensor.created_dtype == tensor.dtype);
      bytes += shell_tensor_bytes(tensor);
    }
    CHECK(bytes == uint_of(at(c, "total_size")));
    ++checked;
  }
  CHECK(checked >= 45);
  CHECK((unmatched > 0) == (compat == Compat::v5));
}

TEST_CASE("shapes of absent quantised tensors are those that the packages write", "[model]") {
  for (const ConfigValue& c : quantized_cases()) {
    INFO(string_of(at(c, "case")));
    const Checkpoint described = quantized_checkpoint(c, true);
    const Checkpoint named = quantized_checkpoint(c, false);
    const Shell shell = build_shell(named, {});
    const bool is_double = string_of(at(c, "case")).find("bnb-nf4") != std::string::npos ||
                                   string_of(at(c, "case")).find("bnb-fp4") != std::string::npos
                               ? read_quantization(named.config)->double_quantized
                               : false;
    CHECK(shell.tree.estimated_bytes == is_double);
    CHECK(shell.warnings.size() == (is_double ? 1 : 0));
    CHECK(shell.tree.parameter_count() == uint_of(at(c, "parameters")));
    CHECK(findings_of(shell, named) == std::vector<std::string>{});
    const KeyMatches keys = match_keys(shell.tree, named);
    REQUIRE(keys.matches.size() == named.tensors.size());
    for (const KeyMatch& match : keys.matches) {
      const CheckpointTensor& written = described.tensors[match.checkpoint];
      const ShellTensor& tensor = shell.tree.tensors[match.shell];
      INFO(tensor.name.view());
      CHECK(tensor.dtype == written.dtype);
      if (is_double && tensor.name.view().find("quant_state") != std::string_view::npos) {
        REQUIRE(tensor.shape.size() == 1);
        CHECK(std::abs(static_cast<double>(tensor.shape[0]) - static_cast<double>(written.shape[0])) <= 10);
      } else {
        CHECK(tensor.shape == written.shape);
      }
    }
  }
}

TEST_CASE("the method is read from quantization_config", "[model]") {
  CHECK_FALSE(read_quantization(parse_model_config("{}")));
  CHECK_FALSE(read_quantization(parse_model_config(R"({"quantization_config":null})")));

  Quantization q = read(R"({"load_in_8bit":true})");
  CHECK(q.method == Method::bitsandbytes_8bit);
  CHECK(q.name == "bitsandbytes, 8 bit");
  q = read(R"({"quant_method":"bitsandbytes","load_in_4bit":true,"bnb_4bit_quant_type":"nf4",
               "bnb_4bit_use_double_quant":true,"bnb_4bit_quant_storage":"bfloat16"})");
  CHECK(q.method == Method::bitsandbytes_4bit);
  CHECK(q.name == "bitsandbytes, 4 bit (nf4, double quantisation)");
  CHECK(q.double_quantized);
  CHECK(q.storage == Dtype::bf16);
  q = read(R"({"quant_method":"gptq","bits":8,"group_size":-1})");
  CHECK(q.method == Method::gptq);
  CHECK(q.name == "GPTQ, 8 bit");
  CHECK(q.group_columns == 0);
  q = read(R"({"quant_method":"awq","w_bit":4,"q_group_size":64,"version":"gemv"})");
  CHECK(q.method == Method::awq);
  CHECK(q.name == "AWQ, 4 bit, groups of 64");
  CHECK(q.is_gemv);
  q = read(R"({"quant_method":"awq","bits":3,"group_size":32})");
  CHECK(q.name == "AWQ, 3 bit, groups of 32");
  CHECK_FALSE(q.is_gemv);
  q = read(R"({"quant_method":"fp8","weight_block_size":[64,32]})");
  CHECK(q.method == Method::fp8);
  CHECK(q.name == "fp8, blocks of 64 x 32");
  CHECK(read(R"({"quant_method":"fp8"})").name == "fp8, blocks of 128 x 128");
  q = read(R"({"quant_method":"fp8","weight_block_size":null})");
  CHECK(q.name == "fp8, one scale a tensor");
  CHECK(q.scales == Scales::tensor);
  CHECK(read(R"({"quant_method":"mxfp4"})").name == "mxfp4");
  CHECK(read(R"({"quant_method":"hqq","bits":"many","group_size":"x"})").method == Method::other);
  CHECK(read(R"({"quant_method":"hqq"})").name == "hqq");
  CHECK(read("{}").name == "an unnamed method");

  const auto compressed = [](const std::string& weights, const std::string& format) {
    return read(R"({"quant_method":"compressed-tensors","format":")" + format +
                R"(","config_groups":{"group_0":{"weights":)" + weights + "}}}");
  };
  q = compressed(R"({"num_bits":4,"type":"int","strategy":"group","group_size":128})", "pack-quantized");
  CHECK(q.method == Method::compressed_tensors);
  CHECK(q.name == "compressed-tensors, pack-quantized, 4 bit, groups of 128");
  CHECK(q.scales == Scales::group);
  CHECK(q.packed == Dtype::i32);
  q = compressed(R"({"num_bits":8,"type":"float"})", "float-quantized");
  CHECK(q.name == "compressed-tensors, float-quantized, 8 bit");
  CHECK(q.scales == Scales::tensor);
  CHECK(q.storage == Dtype::f8_e4m3);
  CHECK(compressed(R"({"group_size":-1})", "int-quantized").scales == Scales::channel);
  CHECK(compressed(R"({"group_size":16})", "int-quantized").scales == Scales::group);
  q = compressed(R"({"num_bits":8,"strategy":"block","block_structure":"128x128"})", "float-quantized");
  CHECK(q.block_rows == 128);
  // Before compressed-tensors wrote scale_dtype.
  q = compressed(R"({"num_bits":4,"type":"float","strategy":"tensor_group","group_size":16})",
                 "nvfp4-pack-quantized");
  CHECK(q.scale == Dtype::f8_e4m3);
  CHECK(q.packed == Dtype::u8);
  CHECK(read(R"({"quant_method":"compressed-tensors"})").name == "compressed-tensors, dense");
}

TEST_CASE("a hostile quantization_config is an error, or a plan", "[model]") {
  const auto section = GENERATE(
      as<std::string>{}, R"([])", R"("gptq")", R"({"quant_method":4})", R"({"quant_method":"gptq","bits":0})",
      R"({"quant_method":"gptq","bits":33})", R"({"quant_method":"gptq","bits":281474976710656})",
      R"({"quant_method":"gptq","bits":-4})", R"({"quant_method":"gptq","bits":4.5})",
      R"({"quant_method":"gptq","group_size":1.5})", R"({"quant_method":"awq","group_size":"all"})",
      R"({"quant_method":"fp8","weight_block_size":[0,128]})",
      R"({"quant_method":"fp8","weight_block_size":[128,0]})",
      R"({"quant_method":"fp8","weight_block_size":[128]})",
      R"({"quant_method":"fp8","weight_block_size":128})",
      R"({"quant_method":"compressed-tensors","config_groups":[]})",
      R"({"quant_method":"compressed-tensors","config_groups":{"a":1}})",
      R"({"quant_method":"compressed-tensors","config_groups":{"a":{"weights":7}}})",
      R"({"quant_method":"compressed-tensors",
                                    "config_groups":{"a":{"weights":{"num_bits":0}}}})",
      R"({"quant_method":"compressed-tensors",
                                    "config_groups":{"a":{"weights":{"block_structure":[0,0]}}}})");
  INFO(section);
  try {
    build_shell(named_llama(section, {kQ + "qweight"}), {});
    FAIL("no error");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::invalid_config);
  }
}

TEST_CASE("odd numbers of a quantization_config give finite sizes", "[model]") {
  const std::vector<std::string> names = {
      kQ + "qweight",       kQ + "qzeros",       kQ + "scales",           kQ + "g_idx",
      kQ + "weight_packed", kQ + "weight_scale", kQ + "weight_scale_inv", kQ + "weight.absmax",
      kQ + "SCB",           kQ + "weight_shape", kQ + "weight_zero_point"};
  for (const std::string section :
       {R"({"quant_method":"gptq","bits":32,"group_size":281474976710656})",
        R"({"quant_method":"gptq","bits":1,"group_size":0})",
        R"({"quant_method":"awq","bits":32,"group_size":1,"version":"gemv"})",
        R"({"quant_method":"awq","bits":31,"version":"gemv"})",
        R"({"quant_method":"awq","version":"marlin"})",
        R"({"quant_method":"fp8","weight_block_size":[1,281474976710656]})",
        R"({"quant_method":"bitsandbytes","bnb_4bit_quant_storage":"complex1024"})",
        R"({"quant_method":"bitsandbytes","bnb_4bit_quant_storage":"bool"})",
        R"({"quant_method":"compressed-tensors","config_groups":{}})",
        R"({"quant_method":"compressed-tensors","config_groups":{"a":{"weights":null},"b":null}})",
        R"({"quant_method":"compressed-tensors","format":"pack-quantized",
            "config_groups":{"a":{"weights":{"num_bits":32,"group_size":1,"scale_dtype":"nothing"}}}})",
        R"({"quant_method":"quark"})", R"({})"}) {
    INFO(section);
    const Shell shell = build_shell(named_llama(section, names), {});
    CHECK(shell.tree.parameter_count() > 0);
    uint64_t bytes = 0;
    for (const ShellTensor& t : shell.tree.tensors) {
      INFO(t.name.view());
      REQUIRE(tensor_bytes(t.dtype, t.shape));
      bytes += shell_tensor_bytes(t);
    }
    CHECK(bytes < 1'000'000);
  }
}

TEST_CASE("no dimension is too large for a formula", "[model]") {
  constexpr uint64_t kHuge = uint64_t{1} << 63;
  for (const Method method : {Method::bitsandbytes_4bit, Method::bitsandbytes_8bit, Method::gptq, Method::awq,
                              Method::compressed_tensors, Method::fp8, Method::mxfp4, Method::other}) {
    Quantization q;
    q.method = method;
    for (const uint64_t bits : {1, 3, 32}) {
      for (const std::vector<uint64_t>& shape :
           {std::vector<uint64_t>{kHuge, 0}, {0, kHuge}, {kHuge, 1}, {3, kHuge, 0}, {kHuge, 1, 1}, {7}, {}}) {
        q.bits = bits;
        q.is_gemv = q.is_packed = bits == 3;
        for (const char* suffix : {"weight", "weight.absmax", "weight.quant_state", "SCB", "qweight",
                                   "qzeros", "scales", "g_idx", "bias", "weight_packed", "weight_scale",
                                   "weight_zero_point", "weight_scale_inv", "_blocks", "_scales", "?"}) {
          const auto stored = stored_tensor(q, suffix, shape, Dtype::bf16);
          if (!stored || stored->shape.size() != 2) continue;
          // Packing makes no dimension longer than one word an element.
          for (const uint64_t d : stored->shape) CHECK(d <= kHuge);
        }
      }
    }
  }
  Quantization q;
  q.method = Method::gptq;
  for (const uint64_t bits : {3, 8, 32}) {
    q.bits = bits;
    CHECK(stored_tensor(q, "qweight", {0, kHuge + 5}, Dtype::f16)->shape[0] ==
          kHuge / 32 * bits + (5 * bits + 31) / 32);
  }
  // A tensor that fits, with scales that do not: a 32-bit one for each 8-bit weight.
  Checkpoint checkpoint = named_llama(R"({"quant_method":"fp8","weight_block_size":[1,1]})",
                                      {"model.layers.0.mlp.up_proj.weight_scale_inv"});
  checkpoint.config = parse_model_config(R"({"model_type":"llama","architectures":["LlamaForCausalLM"],
      "hidden_size":16777216,"intermediate_size":33554432,"num_hidden_layers":1,"num_attention_heads":1,
      "head_dim":1,"vocab_size":8,"dtype":"float16",
      "quantization_config":{"quant_method":"fp8","weight_block_size":[1,1]}})");
  CHECK_THROWS_AS(build_shell(checkpoint, {}), Error);
}

TEST_CASE("only weights of the model count as quantised", "[model]") {
  // An activation, a module without a weight, a buffer, a bias of another layer, no module at all.
  const Shell shell = build_shell(
      named_llama(R"({"quant_method":"gptq"})",
                  {"model.layers.0.mlp.act_fn.scales", "model.layers.0.qweight", "model.rotary_emb.SCB",
                   kQ + "bias", "elsewhere.qweight", "qweight", "_blocks", "x_blocks", "."}),
      {});
  REQUIRE(shell.warnings.size() == 1);
  CHECK(shell.warnings[0].find("none of the tensors is") != std::string::npos);
  CHECK_FALSE(shell.tree.estimated_bytes);
  CHECK(tensor_of(shell.tree, kQ + "weight").dtype == Dtype::f16);
}

TEST_CASE("an unknown method counts what it does not know as estimated", "[model]") {
  const Shell shell = build_shell(named_llama(R"({"quant_method":"quark"})", {kQ + "weight_scale"}), {});
  CHECK(shell.tree.estimated_bytes);
  CHECK(shell.warnings.size() == 1);
}

// MLX, affine, 4 bit in groups of 16: w = scales * q + biases, with (out, in / group) of each.
TEST_CASE("MLX's biases are a part of the weight, as its scales are", "[model]") {
  Checkpoint checkpoint =
      named_llama(R"({"group_size":16,"bits":4})", {kQ + "weight", kQ + "scales", kQ + "biases"});
  const std::pair<Dtype, std::vector<uint64_t>> stored[] = {
      {Dtype::u32, {64, 8}}, {Dtype::bf16, {64, 4}}, {Dtype::bf16, {64, 4}}};
  for (size_t i = 0; i < 3; ++i) {
    checkpoint.tensors[i].described = true;
    checkpoint.tensors[i].dtype = stored[i].first;
    checkpoint.tensors[i].shape = stored[i].second;
    checkpoint.tensors[i].end = tensor_bytes(stored[i].first, stored[i].second).value();
  }
  checkpoint.shards.emplace_back().present = true;
  const Shell shell = build_shell(checkpoint, {});
  CHECK(tensor_of(shell.tree, kQ + "biases").dtype == Dtype::bf16);
  CHECK(shell_tensor_bytes(tensor_of(shell.tree, kQ + "weight")) == 64 * 64 / 2);
  const KeyMatches keys = match_keys(shell.tree, checkpoint);
  CHECK(keys.unexpected_keys.empty());
  CHECK(keys.matches.size() == 3);
}

// accelerate's dtype_byte_size, by which transformers once wrote total_size, gives a boolean 1/8 byte.
TEST_CASE("an index may count booleans as bits", "[model]") {
  Checkpoint checkpoint;
  checkpoint.shards.emplace_back().present = true;
  for (const auto& [name, dtype] : {std::pair{"a", Dtype::f32}, {"mask", Dtype::boolean}}) {
    CheckpointTensor& tensor = checkpoint.tensors.emplace_back();
    tensor.name = name;
    tensor.described = true;
    tensor.dtype = dtype;
    tensor.shape = {20};
    tensor.end = tensor_bytes(dtype, tensor.shape).value();
  }
  const auto is_right = [&](uint64_t total_size) {
    checkpoint.index_total_size_bytes = total_size;
    return compare_total_size(checkpoint).empty();
  };
  CHECK(is_right(80 + 20));
  CHECK(is_right(80 + 2));
  CHECK(is_right(80 + 3));
  CHECK_FALSE(is_right(80 + 1));
  CHECK_FALSE(is_right(80 + 4));
}

TEST_CASE("layers that are quantised in several ways are estimated", "[model]") {
  const std::string section =
      R"({"quant_method":"compressed-tensors","format":"mixed-precision","config_groups":{
      "a":{"format":"pack-quantized","weights":{"num_bits":4,"strategy":"channel"}},
      "b":{"format":"int-quantized","weights":{"num_bits":8}}}})";
  const Shell shell = build_shell(named_llama(section, {kQ + "weight_packed", kQ + "weight_scale"}), {});
  CHECK(shell.tree.estimated_bytes);
  CHECK(tensor_of(shell.tree, kQ + "weight_packed").shape == std::vector<uint64_t>{64, 8});
}

// As compressed-tensors 0.9.4 wrote it; 0.20, which the fixtures are made with, no longer does.
TEST_CASE("quantised in the order of activations, a group number is stored for each input", "[model]") {
  const std::string down = "model.layers.0.mlp.down_proj.";
  const Shell shell = build_shell(
      named_llama(
          R"({"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"group_0":{
                      "weights":{"num_bits":4,"strategy":"group","group_size":32,"actorder":"group"}}}})",
          {down + "weight_packed", down + "weight_scale", down + "weight_g_idx"}),
      {});
  CHECK_FALSE(shell.tree.estimated_bytes);
  CHECK(tensor_of(shell.tree, down + "weight_g_idx").dtype == Dtype::i32);
  CHECK(tensor_of(shell.tree, down + "weight_g_idx").shape == std::vector<uint64_t>{96});
  CHECK(tensor_of(shell.tree, down + "weight_scale").shape == std::vector<uint64_t>{64, 3});
}

TEST_CASE("fp8 with one scale a tensor stores scalars", "[model]") {
  const Shell shell =
      build_shell(named_llama(R"({"quant_method":"fp8","weight_block_size":null})",
                              {kQ + "weight", kQ + "weight_scale_inv", kQ + "activation_scale"}),
                  {});
  CHECK_FALSE(shell.tree.estimated_bytes);
  CHECK(tensor_of(shell.tree, kQ + "weight").dtype == Dtype::f8_e4m3);
  CHECK(tensor_of(shell.tree, kQ + "weight_scale_inv").shape.empty());
  CHECK(tensor_of(shell.tree, kQ + "activation_scale").dtype == Dtype::f32);
}

TEST_CASE("a quantised head is no longer tied to the embedding", "[model]") {
  for (const Compat compat : {Compat::v4, Compat::v5}) {
    const std::string q4 = R"({"quant_method":"bitsandbytes","load_in_4bit":true})";
    Shell shell =
        build_shell(named_llama(q4, {"model.embed_tokens.weight", "lm_head.weight", "lm_head.weight.absmax"},
                                R"(,"tie_word_embeddings":true)"),
                    {.dtype = std::nullopt, .compat = compat});
    CHECK(shell.tree.tied_groups().empty());
    CHECK(tensor_of(shell.tree, "lm_head.weight").dtype == Dtype::u8);
    CHECK(tensor_of(shell.tree, "model.embed_tokens.weight").dtype == Dtype::f16);
    // Here the embedding is, which stood for both.
    shell = build_shell(named_llama(q4, {"model.embed_tokens.weight", "model.embed_tokens.weight.absmax"},
                                    R"(,"tie_word_embeddings":true)"),
                        {.dtype = std::nullopt, .compat = compat});
    CHECK(shell.tree.tied_groups().empty());
    const ShellTensor& head = tensor_of(shell.tree, "lm_head.weight");
    CHECK(head.dtype == Dtype::f16);
    CHECK(&shell.tree.tensors[head.object] == &head);
    CHECK(tensor_of(shell.tree, "model.embed_tokens.weight").dtype == Dtype::u8);
  }
}

TEST_CASE("a quantised checkpoint of the base model gets the prefix added", "[model]") {
  const Shell shell = build_shell(
      named_llama(R"({"quant_method":"gptq"})", {"layers.0.self_attn.q_proj.qweight", "norm.weight"}), {});
  CHECK(shell.warnings.empty());
  CHECK(tensor_of(shell.tree, kQ + "qweight").shape == std::vector<uint64_t>{8, 64});
}

}  // namespace hfload
