#include "core/model/architecture/decoder_parts.h"
#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// gpt-oss, as models/gpt_oss of transformers 4.57 and 5 builds it: dequantised, its experts are dense.
namespace hfload {
namespace {

constexpr DecoderDefaults kDefaults{201088, 2880, 2880, 36, 64, 8, 64};

void gpt_oss(ModuleBuilder& b, const ModelConfig& config) {
  DecoderSizes s = read_decoder_sizes(config, kDefaults);
  s.qkv_bias = s.output_bias = config.get_bool("attention_bias", true);
  const uint64_t num_experts = config.get_count({"num_local_experts", "num_experts"}, 128);
  const bool is_null = config.find("sliding_window") != nullptr;
  const uint64_t window = config.get_uint("sliding_window", is_null ? 0 : 128);
  const std::vector<bool> sliding = sliding_layers(config, s.num_layers, 2);
  decoder_stack(b, "GptOss", s, s.head_dim, [&](uint64_t i) {
    b.module("self_attn", "GptOssAttention", [&] {
      b.parameter("sinks", {s.num_heads});
      attention_projections(b, s, sliding[i] ? window : 0);
    });
    b.module("mlp", "GptOssMLP", [&] {
      b.module("router", "GptOssTopKRouter", [&] {
        b.parameter("weight", {num_experts, s.hidden_size});
        b.parameter("bias", {num_experts});
      });
      b.module("experts", "GptOssExperts", [&] {
        b.parameter("gate_up_proj", {num_experts, s.hidden_size, 2 * s.intermediate_size});
        b.parameter("gate_up_proj_bias", {num_experts, 2 * s.intermediate_size});
        b.parameter("down_proj", {num_experts, s.intermediate_size, s.hidden_size});
        b.parameter("down_proj_bias", {num_experts, s.hidden_size});
      });
    });
    b.rms_norm("input_layernorm", "GptOssRMSNorm", s.hidden_size);
    b.rms_norm("post_attention_layernorm", "GptOssRMSNorm", s.hidden_size);
  });
}

constexpr BaseModel kModel{"GptOssModel", gpt_oss, 201088, 2880};

constexpr ModelClass model_class(std::string_view name, void (*declare)(ModuleBuilder&, const ModelConfig&)) {
  return {.name = name,
          .base_model_prefix = "model",
          .declare = declare,
          .no_split_modules = {"GptOssDecoderLayer"},
          .keep_in_fp32 = {"post_attention_layernorm", "input_layernorm", "norm"}};
}

constexpr ModelClass kClasses[] = {
    model_class("GptOssForCausalLM", causal_lm<kModel>),
    model_class("GptOssModel", base_model<kModel>),
    model_class("GptOssForSequenceClassification", sequence_classification<kModel>),
    model_class("GptOssForTokenClassification", token_classification<kModel>),
};

}  // namespace

constexpr Architecture kGptOss{"gpt_oss", kClasses};

}  // namespace hfload
