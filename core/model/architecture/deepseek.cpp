#include "core/base/error.h"
#include "core/model/architecture/moe.h"
#include "core/model/architecture/registry.h"

/// DeepSeek-V2 and V3, as models/deepseek_v2 and models/deepseek_v3 of transformers 4.57 and 5 build them.
/// Kimi K2 is V3 under a model_type of its own.
namespace hfload {
namespace {

struct DeepseekConfig {
  uint64_t q_lora_rank;  ///< 0: queries are not compressed
  uint64_t kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim;
  uint64_t first_k_dense_replace, num_experts, moe_intermediate_size, num_shared_experts;
  std::string_view moe_suffix, router_suffix;
  bool has_score_correction;
};

/// An explicit null means that the model has no such part.
uint64_t get_or_none(const ModelConfig& config, std::string_view key, uint64_t fallback) {
  return config.get_uint(key, config.find(key) != nullptr ? 0 : fallback);
}

DeepseekConfig read_latent_attention(const ModelConfig& config) {
  DeepseekConfig d{};
  d.q_lora_rank = get_or_none(config, "q_lora_rank", 1536);
  d.kv_lora_rank = config.get_uint("kv_lora_rank", 512);
  d.qk_nope_head_dim = config.get_uint("qk_nope_head_dim", 128);
  d.qk_rope_head_dim = config.get_uint("qk_rope_head_dim", 64);
  d.v_head_dim = config.get_uint("v_head_dim", 128);
  return d;
}

DeepseekConfig read_v2(const ModelConfig& config, bool is_v5) {
  DeepseekConfig d = read_latent_attention(config);
  d.first_k_dense_replace = config.get_uint("first_k_dense_replace", 0);
  d.num_experts = config.get_count({"n_routed_experts", "num_experts"}, 64);
  d.moe_intermediate_size = config.get_uint("moe_intermediate_size", 1407);
  d.num_shared_experts = get_or_none(config, "n_shared_experts", 2);
  d.moe_suffix = is_v5 ? "Moe" : "MoE";
  d.router_suffix = is_v5 ? "TopkRouter" : "MoEGate";
  return d;
}

DeepseekConfig read_v3(const ModelConfig& config) {
  DeepseekConfig d = read_latent_attention(config);
  d.first_k_dense_replace = config.get_uint("first_k_dense_replace", 3);
  d.num_experts = config.get_count({"n_routed_experts", "num_local_experts"}, 256);
  d.moe_intermediate_size = config.get_uint("moe_intermediate_size", 2048);
  d.num_shared_experts = config.get_uint("n_shared_experts", 1);
  d.moe_suffix = "MoE";
  d.router_suffix = "TopkRouter";
  d.has_score_correction = true;
  return d;
}

void adjust_v2(DecoderConfig& c, const ModelConfig& config) {
  read_attention_bias(c, config);
  c.mlp_bias = config.get_bool("mlp_bias", false);
}

/// Multi-head latent attention (DeepSeek-V2, section 2.1).
void latent_attention(ModuleBuilder& b, const DecoderConfig& c, const DeepseekConfig& d) {
  const uint64_t query_size = c.num_heads * (d.qk_nope_head_dim + d.qk_rope_head_dim);
  b.module("self_attn", c.class_name("Attention"), [&] {
    if (d.q_lora_rank == 0) {
      b.linear("q_proj", c.hidden_size, query_size, false);
    } else {
      b.linear("q_a_proj", c.hidden_size, d.q_lora_rank, c.qkv_bias);
      decoder_norm(b, c, "q_a_layernorm", d.q_lora_rank);
      b.linear("q_b_proj", d.q_lora_rank, query_size, false);
    }
    b.linear("kv_a_proj_with_mqa", c.hidden_size, d.kv_lora_rank + d.qk_rope_head_dim, c.qkv_bias);
    decoder_norm(b, c, "kv_a_layernorm", d.kv_lora_rank);
    b.linear("kv_b_proj", d.kv_lora_rank, c.num_heads * (d.qk_nope_head_dim + d.v_head_dim), false);
    b.linear("o_proj", c.num_heads * d.v_head_dim, c.hidden_size, c.output_bias);
    b.latent_cache(d.kv_lora_rank + d.qk_rope_head_dim);
  });
}

void sparse_mlp(ModuleBuilder& b, const DecoderConfig& c, const DeepseekConfig& d) {
  b.module("mlp", c.class_name(d.moe_suffix), [&] {
    gated_experts(b, c, d.num_experts, d.moe_intermediate_size);
    b.module("gate", c.class_name(d.router_suffix), [&] {
      b.parameter("weight", {d.num_experts, c.hidden_size});
      if (d.has_score_correction)
        b.buffer("e_score_correction_bias", {d.num_experts}, b.default_dtype(), true);
    });
    if (d.num_shared_experts == 0) return;
    gated_mlp(b, "shared_experts", c.class_name("MLP"), c.hidden_size,
              d.num_shared_experts * d.moe_intermediate_size, c.mlp_bias, c.hidden_act);
  });
}

void decoder(ModuleBuilder& b, const DecoderConfig& c, const DeepseekConfig& d) {
  decoder_model(b, c, [&](uint64_t i) {
    latent_attention(b, c, d);
    if (i < d.first_k_dense_replace) {
      decoder_mlp(b, c);
    } else {
      sparse_mlp(b, c, d);
    }
    decoder_layer_norms(b, c);
  });
}

constexpr DecoderFamily kV2Family{.prefix = "DeepseekV2",
                                  .vocab_size = 32000,
                                  .hidden_size = 4096,
                                  .intermediate_size = 11008,
                                  .num_layers = 32,
                                  .num_heads = 32,
                                  .heads = DecoderHeads::sequence,
                                  .adjust = adjust_v2};
constexpr uint64_t kV5VocabSizeOfV2 = 102400;
constexpr DecoderFamily kV3Family{.prefix = "DeepseekV3",
                                  .vocab_size = 129280,
                                  .hidden_size = 7168,
                                  .intermediate_size = 18432,
                                  .num_layers = 61,
                                  .num_heads = 128,
                                  .num_kv_heads = 128,
                                  .heads = DecoderHeads::token,
                                  .adjust = read_attention_bias};

/// Only the rotary part of a query or key is turned.
DecoderConfig read_config(const ModuleBuilder& b, const ModelConfig& config, const DecoderFamily& family,
                          const DeepseekConfig& d) {
  DecoderConfig c = read_decoder_config(b, config, family);
  c.rotary_frequencies = rotary_frequencies(b, config, d.qk_rope_head_dim, {});
  return c;
}

void deepseek_v2(ModuleBuilder& b, const ModelConfig& config) {
  const DeepseekConfig d = read_v2(config, b.is_v5());
  DecoderConfig c = read_config(b, config, kV2Family, d);
  if (b.is_v5()) c.vocab_size = config.get_uint("vocab_size", kV5VocabSizeOfV2);
  decoder(b, c, d);
}

void deepseek_v3(ModuleBuilder& b, const ModelConfig& config) {
  // Checkpoints with code of their own name this class and have other attention.
  if (config.get_bool("group_query_attention", false)) {
    throw Error(ErrorCode::unsupported_architecture,
                "config.json names DeepSeek-V3 with grouped-query attention, which that model does not have");
  }
  const DeepseekConfig d = read_v3(config);
  decoder(b, read_config(b, config, kV3Family, d), d);
}

using V2Classes = DecoderClasses<kV2Family, deepseek_v2>;
using V3Classes = DecoderClasses<kV3Family, deepseek_v3>;

void v2_causal_lm(ModuleBuilder& b, const ModelConfig& config) {
  BaseModel base = V2Classes::kBase;
  if (b.is_v5()) base.vocab_size = kV5VocabSizeOfV2;
  heads::causal_lm(b, config, base);
}

constexpr auto kV2Classes = [] {
  std::array<ModelClass, 3> classes{};
  std::ranges::copy(V2Classes::kClasses, classes.begin());
  classes[0].declare = v2_causal_lm;
  return classes;
}();

/// Layer 61 of the published checkpoint predicts a token further; the class has no such layer.
constexpr auto kV3Classes = [] {
  constexpr NameList kNextTokenLayer = {"model\\.layers\\.61.*"};
  std::array<ModelClass, 4> classes{};
  std::ranges::copy(V3Classes::kClasses, classes.begin());
  for (ModelClass& c : classes) {
    if (c.name == "DeepseekV3Model") c.ignore_unexpected = kNextTokenLayer;
    c.v5_ignore_unexpected = kNextTokenLayer;
    c.v5_keep_in_fp32_strict = NameList{"e_score_correction_bias"};
  }
  return classes;
}();

}  // namespace

constexpr Architecture kDeepseekV2{"deepseek_v2", kV2Classes};
constexpr Architecture kDeepseekV3{"deepseek_v3", kV3Classes};
constexpr Architecture kKimiK2{"kimi_k2", kV3Classes};

}  // namespace hfload
