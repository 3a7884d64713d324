#include <algorithm>
#include <array>

#include "core/model/architecture/moe.h"
#include "core/model/architecture/registry.h"

/// Qwen2-MoE, Qwen3-MoE and Qwen3-Next, as models/qwen2_moe, qwen3_moe and qwen3_next of transformers 4.57
/// and 5 build them.
namespace hfload {
namespace {

/// Off unless `use_sliding_window`; then in all layers, but for Qwen2-MoE in transformers 5.
void read_window(DecoderConfig& c, const ModelConfig& config) {
  if (config.get_bool("use_sliding_window", false)) read_sliding_window(c, config, 4096);
}

void adjust_qwen2_moe(DecoderConfig& c, const ModelConfig& config) {
  c.qkv_bias = config.get_bool("qkv_bias", true);
  read_window(c, config);
}

void adjust_qwen3_moe(DecoderConfig& c, const ModelConfig& config) {
  read_attention_bias(c, config);
  read_window(c, config);
}

constexpr DecoderFamily kQwen2MoeFamily{.prefix = "Qwen2Moe",
                                        .vocab_size = 151936,
                                        .hidden_size = 2048,
                                        .intermediate_size = 5632,
                                        .num_layers = 24,
                                        .num_heads = 16,
                                        .num_kv_heads = 16,
                                        .heads = DecoderHeads::question_answering,
                                        .question_answering_attribute = "model",
                                        .adjust = adjust_qwen2_moe};
constexpr DecoderFamily kQwen3MoeFamily{.prefix = "Qwen3Moe",
                                        .vocab_size = 151936,
                                        .hidden_size = 2048,
                                        .intermediate_size = 6144,
                                        .num_layers = 24,
                                        .num_heads = 32,
                                        .num_kv_heads = 4,
                                        .heads = DecoderHeads::question_answering,
                                        .qk_norm = QkNorm::per_head,
                                        .adjust = adjust_qwen3_moe};

constexpr DecoderFamily kQwen3NextFamily{.prefix = "Qwen3Next",
                                         .vocab_size = 151936,
                                         .hidden_size = 2048,
                                         .intermediate_size = 5632,
                                         .num_layers = 48,
                                         .num_heads = 16,
                                         .num_kv_heads = 2,
                                         .head_dim = 256,
                                         .heads = DecoderHeads::question_answering,
                                         .qk_norm = QkNorm::per_head,
                                         .partial_rotary_factor = 0.25,
                                         .adjust = read_attention_bias};

void mlp_with_shared_expert(ModuleBuilder& b, const DecoderConfig& c, const Moe& moe, uint64_t shared_size,
                            uint64_t i) {
  if (!moe.is_sparse[i]) return decoder_mlp(b, c);
  b.module("mlp", c.class_name("SparseMoeBlock"), [&] {
    router(b, c, "gate", moe.num_experts);
    gated_experts(b, c, moe.num_experts, moe.intermediate_size);
    gated_mlp(b, "shared_expert", c.class_name("MLP"), c.hidden_size, shared_size, false, c.hidden_act);
    b.linear("shared_expert_gate", c.hidden_size, 1, false);
  });
}

void qwen2_moe(ModuleBuilder& b, const ModelConfig& config) {
  DecoderConfig c = read_decoder_config(b, config, kQwen2MoeFamily);
  // Transformers 5 gives the window to every second of the first layers.
  const uint64_t end = config.get_uint("max_window_layers", 28);
  if (b.is_v5()) read_layer_types(c, config, [&](uint64_t i) { return i % 2 == 0 && i < end; });
  const Moe moe = read_moe(c, config, 60, 1408);
  const uint64_t shared_size = config.get_uint("shared_expert_intermediate_size", 5632);
  decoder_model(b, c, [&](uint64_t i) {
    b.module("self_attn", c.class_name(b.is_v5() ? "Attention" : "SdpaAttention"), [&] {
      fill_attention(b, c, i);
      if (!b.is_v5()) b.rotary_embedding("rotary_emb", c.class_name("RotaryEmbedding"), c.rotary_frequencies);
    });
    mlp_with_shared_expert(b, c, moe, shared_size, i);
    decoder_layer_norms(b, c);
  });
}

void qwen3_moe(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kQwen3MoeFamily);
  const Moe moe = read_moe(c, config, 128, 768);
  decoder_model(b, c, [&](uint64_t i) {
    decoder_attention(b, c, i);
    if (moe.is_sparse[i]) {
      b.module("mlp", c.class_name("SparseMoeBlock"), [&] {
        if (!b.is_v5()) router(b, c, "gate", moe.num_experts);
        gated_experts(b, c, moe.num_experts, moe.intermediate_size);
        if (b.is_v5()) router(b, c, "gate", moe.num_experts);
      });
    } else {
      decoder_mlp(b, c);
    }
    decoder_layer_norms(b, c);
  });
}

struct DeltaNetConfig {
  uint64_t num_key_heads, num_value_heads, key_head_dim, value_head_dim, kernel;
  uint64_t key_dim() const { return product(num_key_heads, key_head_dim); }
  uint64_t value_dim() const { return product(num_value_heads, value_head_dim); }
};

/// Linear attention by the gated delta rule: a convolution of queries, keys and values, and a state of
/// key_head_dim x value_head_dim for each value head, in float32 as its kernels give it.
void delta_net(ModuleBuilder& b, const DecoderConfig& c, const DeltaNetConfig& d) {
  const uint64_t conv_dim = 2 * d.key_dim() + d.value_dim();
  b.module("linear_attn", c.class_name("GatedDeltaNet"), [&] {
    b.parameter("dt_bias", {d.num_value_heads});
    b.parameter("A_log", {d.num_value_heads});
    if (!b.is_v5()) b.activation("act", c.hidden_act);
    b.module("conv1d", "Conv1d", [&] { b.parameter("weight", {conv_dim, 1, d.kernel}); });
    b.linear("in_proj_qkvz", c.hidden_size, 2 * d.key_dim() + 2 * d.value_dim(), false);
    b.linear("in_proj_ba", c.hidden_size, 2 * d.num_value_heads, false);
    b.rms_norm("norm", c.class_name("RMSNormGated"), d.value_head_dim);
    b.linear("out_proj", d.value_dim(), c.hidden_size, false);
    b.state_cache(product(conv_dim, d.kernel), product(d.value_dim(), d.key_head_dim));
  });
}

/// q_proj gives every head a gate beside its query.
void gated_attention(ModuleBuilder& b, const DecoderConfig& c) {
  b.module("self_attn", c.class_name("Attention"), [&] {
    b.linear("q_proj", c.hidden_size, 2 * c.num_heads * c.head_dim, c.qkv_bias);
    b.linear("k_proj", c.hidden_size, c.num_kv_heads * c.head_dim, c.qkv_bias);
    b.linear("v_proj", c.hidden_size, c.num_kv_heads * c.head_dim, c.qkv_bias);
    b.linear("o_proj", c.num_heads * c.head_dim, c.hidden_size, c.output_bias);
    decoder_norm(b, c, "q_norm", c.head_dim);
    decoder_norm(b, c, "k_norm", c.head_dim);
    b.attention_cache(c.num_kv_heads, c.head_dim);
  });
}

void qwen3_next(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kQwen3NextFamily);
  const Moe moe = read_moe(c, config, 512, 512);
  const uint64_t shared_size = config.get_uint("shared_expert_intermediate_size", 512);
  const DeltaNetConfig d{.num_key_heads = config.get_uint("linear_num_key_heads", 16),
                         .num_value_heads = config.get_uint("linear_num_value_heads", 32),
                         .key_head_dim = config.get_uint("linear_key_head_dim", 128),
                         .value_head_dim = config.get_uint("linear_value_head_dim", 128),
                         .kernel = config.get_uint("linear_conv_kernel_dim", 4)};
  const auto types = config.get_strings("layer_types");
  const uint64_t interval = config.get_uint("full_attention_interval", 4);
  decoder_model(b, c, [&](uint64_t i) {
    const bool is_linear = types ? i < types->size() && (*types)[i] == "linear_attention"
                                 : interval == 0 || (i + 1) % interval != 0;
    if (is_linear) {
      delta_net(b, c, d);
    } else {
      gated_attention(b, c);
    }
    mlp_with_shared_expert(b, c, moe, shared_size, i);
    decoder_layer_norms(b, c);
  });
}

/// The published checkpoint has layers for predicting several tokens; the class has none.
constexpr auto kQwen3NextClasses = [] {
  std::array<ModelClass, 5> classes{};
  std::ranges::copy(DecoderClasses<kQwen3NextFamily, qwen3_next>::kClasses, classes.begin());
  for (ModelClass& c : classes) c.ignore_unexpected = {"^mtp.*"};
  return classes;
}();

}  // namespace

constexpr Architecture kQwen2Moe{"qwen2_moe", DecoderClasses<kQwen2MoeFamily, qwen2_moe>::kClasses};
constexpr Architecture kQwen3Moe{"qwen3_moe", DecoderClasses<kQwen3MoeFamily, qwen3_moe>::kClasses};
constexpr Architecture kQwen3Next{"qwen3_next", kQwen3NextClasses};

}  // namespace hfload
