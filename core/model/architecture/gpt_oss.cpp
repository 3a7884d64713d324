#include "core/model/architecture/moe.h"
#include "core/model/architecture/registry.h"

/// gpt-oss, as models/gpt_oss of transformers 4.57 and 5 builds it, before quantisation.
namespace hfload {
namespace {

void adjust(DecoderConfig& c, const ModelConfig& config) {
  c.qkv_bias = c.output_bias = config.get_bool("attention_bias", true);
  read_sliding_window(c, config, 128);
  read_layer_types(c, config, [](uint64_t i) { return i % 2 == 0; });
}

constexpr DecoderFamily kFamily{.prefix = "GptOss",
                                .vocab_size = 201088,
                                .hidden_size = 2880,
                                .intermediate_size = 2880,
                                .num_layers = 36,
                                .num_heads = 64,
                                .num_kv_heads = 8,
                                .head_dim = 64,
                                .heads = DecoderHeads::token,
                                .adjust = adjust};

void gpt_oss(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kFamily);
  const uint64_t num_experts = config.get_count({"num_local_experts", "num_experts"}, 128);
  decoder_model(b, c, [&](uint64_t i) {
    b.module("self_attn", c.class_name("Attention"), [&] {
      b.parameter("sinks", {c.num_heads});
      fill_attention(b, c, i);
    });
    b.module("mlp", c.class_name("MLP"), [&] {
      b.module("router", c.class_name("TopKRouter"), [&] {
        b.parameter("weight", {num_experts, c.hidden_size});
        b.parameter("bias", {num_experts});
      });
      b.module("experts", c.class_name("Experts"), [&] {
        b.parameter("gate_up_proj", {num_experts, c.hidden_size, 2 * c.intermediate_size});
        b.parameter("gate_up_proj_bias", {num_experts, 2 * c.intermediate_size});
        b.parameter("down_proj", {num_experts, c.intermediate_size, c.hidden_size});
        b.parameter("down_proj_bias", {num_experts, c.hidden_size});
      });
    });
    decoder_layer_norms(b, c);
  });
}

/// The family's classes, with the norms in float32.
constexpr auto kClasses = [] {
  std::array<ModelClass, 4> classes{};
  std::ranges::copy(DecoderClasses<kFamily, gpt_oss>::kClasses, classes.begin());
  for (ModelClass& c : classes) c.keep_in_fp32 = {"post_attention_layernorm", "input_layernorm", "norm"};
  return classes;
}();

}  // namespace

constexpr Architecture kGptOss{"gpt_oss", kClasses};

}  // namespace hfload
