#include "core/model/architecture/decoder_parts.h"
#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// DeepSeek-V2 and V3, as models/deepseek_v2 and models/deepseek_v3 of transformers 4.57 and 5 build them.
/// Kimi K2 is V3 under a model_type of its own.
namespace hfload {
namespace {

struct DeepseekConfig {
  std::string_view prefix;
  DecoderSizes sizes;
  uint64_t moe_intermediate_size, first_k_dense_replace, n_routed_experts;
  uint64_t shared_experts_size;        ///< of all of them together; no shared expert: 0
  uint64_t kv_lora_rank, q_lora_rank;  ///< no q_lora_rank: 0
  uint64_t qk_nope_head_dim, qk_rope_head_dim, v_head_dim;
  bool mlp_bias, has_score_correction;
  std::string_view moe_class, v4_router_class, v5_router_class;
};

/// What V2 and V3 read alike. An explicit null q_lora_rank means queries without compression.
void read_common(DeepseekConfig& c, const ModelConfig& config) {
  c.kv_lora_rank = config.get_uint("kv_lora_rank", 512);
  c.q_lora_rank = config.get_uint("q_lora_rank", config.find("q_lora_rank") != nullptr ? 0 : 1536);
  c.qk_nope_head_dim = config.get_uint("qk_nope_head_dim", 128);
  c.qk_rope_head_dim = config.get_uint("qk_rope_head_dim", 64);
  c.v_head_dim = config.get_uint("v_head_dim", 128);
}

DeepseekConfig read_v2(const ModelConfig& config, bool is_v5) {
  DeepseekConfig c{};
  c.prefix = "DeepseekV2";
  c.sizes = read_decoder_sizes(config, {is_v5 ? 102400U : 32000U, 4096, 11008, 32, 32});
  read_common(c, config);
  c.moe_intermediate_size = config.get_uint("moe_intermediate_size", 1407);
  c.first_k_dense_replace = config.get_uint("first_k_dense_replace", 0);
  c.n_routed_experts = config.get_count("n_routed_experts", 64);
  c.shared_experts_size =
      c.moe_intermediate_size *
      config.get_count("n_shared_experts", config.find("n_shared_experts") != nullptr ? 0 : 2);
  c.mlp_bias = config.get_bool("mlp_bias", false);
  c.moe_class = is_v5 ? "DeepseekV2Moe" : "DeepseekV2MoE";
  c.v4_router_class = "DeepseekV2MoEGate";
  c.v5_router_class = "DeepseekV2TopkRouter";
  return c;
}

DeepseekConfig read_v3(const ModelConfig& config) {
  DeepseekConfig c{};
  c.prefix = "DeepseekV3";
  c.sizes = read_decoder_sizes(config, {129280, 7168, 18432, 61, 128, 128});
  read_common(c, config);
  c.moe_intermediate_size = config.get_uint("moe_intermediate_size", 2048);
  c.first_k_dense_replace = config.get_uint("first_k_dense_replace", 3);
  c.n_routed_experts = config.get_count({"n_routed_experts", "num_local_experts"}, 256);
  c.shared_experts_size = c.moe_intermediate_size * config.get_count("n_shared_experts", 1);
  c.has_score_correction = true;
  c.moe_class = "DeepseekV3MoE";
  c.v4_router_class = c.v5_router_class = "DeepseekV3TopkRouter";
  return c;
}

/// Multi-head latent attention (DeepSeek-V2, section 2.1).
void attention(ModuleBuilder& b, const DeepseekConfig& c) {
  const DecoderSizes& s = c.sizes;
  const uint64_t qk_head_dim = c.qk_nope_head_dim + c.qk_rope_head_dim;
  const std::string norm = class_of(c.prefix, "RMSNorm");
  b.module("self_attn", class_of(c.prefix, "Attention"), [&] {
    if (c.q_lora_rank == 0) {
      b.linear("q_proj", s.hidden_size, s.num_heads * qk_head_dim, false);
    } else {
      b.linear("q_a_proj", s.hidden_size, c.q_lora_rank, s.qkv_bias);
      b.rms_norm("q_a_layernorm", norm, c.q_lora_rank);
      b.linear("q_b_proj", c.q_lora_rank, s.num_heads * qk_head_dim, false);
    }
    b.linear("kv_a_proj_with_mqa", s.hidden_size, c.kv_lora_rank + c.qk_rope_head_dim, s.qkv_bias);
    b.rms_norm("kv_a_layernorm", norm, c.kv_lora_rank);
    b.linear("kv_b_proj", c.kv_lora_rank, s.num_heads * (c.qk_nope_head_dim + c.v_head_dim), false);
    b.linear("o_proj", s.num_heads * c.v_head_dim, s.hidden_size, s.output_bias);
    b.latent_cache(c.kv_lora_rank + c.qk_rope_head_dim);
  });
}

void sparse_mlp(ModuleBuilder& b, const DeepseekConfig& c) {
  const DecoderSizes& s = c.sizes;
  const std::string mlp = class_of(c.prefix, "MLP");
  b.module("mlp", c.moe_class, [&] {
    if (b.is_v5()) {
      stacked_experts(b, class_of(c.prefix, "Experts"), c.n_routed_experts, s.hidden_size,
                      c.moe_intermediate_size, s.hidden_act);
    } else {
      b.list("experts", c.n_routed_experts, [&](uint64_t i) {
        gated_mlp(b, index_name(i), mlp, s.hidden_size, c.moe_intermediate_size, s.hidden_act, c.mlp_bias);
      });
    }
    b.module("gate", b.is_v5() ? c.v5_router_class : c.v4_router_class, [&] {
      b.parameter("weight", {c.n_routed_experts, s.hidden_size});
      if (c.has_score_correction)
        b.buffer("e_score_correction_bias", {c.n_routed_experts}, b.default_dtype(), true);
    });
    if (c.shared_experts_size == 0) return;
    gated_mlp(b, "shared_experts", mlp, s.hidden_size, c.shared_experts_size, s.hidden_act, c.mlp_bias);
  });
}

void decoder(ModuleBuilder& b, const DeepseekConfig& c) {
  const DecoderSizes& s = c.sizes;
  const std::string norm = class_of(c.prefix, "RMSNorm");
  decoder_stack(b, c.prefix, s, c.qk_rope_head_dim, [&](uint64_t i) {
    attention(b, c);
    if (i >= c.first_k_dense_replace) {
      sparse_mlp(b, c);
    } else {
      gated_mlp(b, "mlp", class_of(c.prefix, "MLP"), s.hidden_size, s.intermediate_size, s.hidden_act,
                c.mlp_bias);
    }
    b.rms_norm("input_layernorm", norm, s.hidden_size);
    b.rms_norm("post_attention_layernorm", norm, s.hidden_size);
  });
}

void deepseek_v2(ModuleBuilder& b, const ModelConfig& config) { decoder(b, read_v2(config, b.is_v5())); }
void deepseek_v3(ModuleBuilder& b, const ModelConfig& config) { decoder(b, read_v3(config)); }

constexpr BaseModel kV2Model{"DeepseekV2Model", deepseek_v2, 32000, 4096};
constexpr BaseModel kV3Model{"DeepseekV3Model", deepseek_v3, 129280, 7168};

void v2_causal_lm(ModuleBuilder& b, const ModelConfig& config) {
  BaseModel base = kV2Model;
  if (b.is_v5()) base.vocab_size = 102400;
  heads::causal_lm(b, config, base);
}

constexpr NameList kNextTokenLayer = {"model\\.layers\\.61.*"};

constexpr ModelClass v3_class(std::string_view name, void (*declare)(ModuleBuilder&, const ModelConfig&),
                              NameList v4_ignore_unexpected) {
  return {.name = name,
          .base_model_prefix = "model",
          .declare = declare,
          .no_split_modules = {"DeepseekV3DecoderLayer"},
          .ignore_unexpected = v4_ignore_unexpected,
          .v5_keep_in_fp32_strict = {{"e_score_correction_bias"}},
          .v5_ignore_unexpected = kNextTokenLayer};
}

constexpr ModelClass kV2Classes[] = {
    {"DeepseekV2ForCausalLM", "model", v2_causal_lm, {"DeepseekV2DecoderLayer"}},
    {"DeepseekV2Model", "model", base_model<kV2Model>, {"DeepseekV2DecoderLayer"}},
    {"DeepseekV2ForSequenceClassification",
     "model",
     sequence_classification<kV2Model>,
     {"DeepseekV2DecoderLayer"}},
};
constexpr ModelClass kV3Classes[] = {
    v3_class("DeepseekV3ForCausalLM", causal_lm<kV3Model>, {}),
    v3_class("DeepseekV3Model", base_model<kV3Model>, kNextTokenLayer),
    v3_class("DeepseekV3ForSequenceClassification", sequence_classification<kV3Model>, {}),
    v3_class("DeepseekV3ForTokenClassification", token_classification<kV3Model>, {}),
};

}  // namespace

constexpr Architecture kDeepseekV2{"deepseek_v2", kV2Classes};
constexpr Architecture kDeepseekV3{"deepseek_v3", kV3Classes};
constexpr Architecture kKimiK2{"kimi_k2", kV3Classes};

}  // namespace hfload
