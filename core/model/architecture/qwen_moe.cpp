#include "core/model/architecture/moe.h"
#include "core/model/architecture/registry.h"

/// Qwen2-MoE and Qwen3-MoE, as models/qwen2_moe and models/qwen3_moe of transformers 4.57 and 5 build them.
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

/// Which layers have experts, and how many of which size.
struct Moe {
  uint64_t num_experts, intermediate_size;
  std::vector<bool> is_sparse;
};

Moe read_moe(const DecoderConfig& c, const ModelConfig& config, uint64_t num_experts,
             uint64_t intermediate_size) {
  Moe moe{.num_experts = config.get_count({"num_experts", "num_local_experts"}, num_experts),
          .intermediate_size = config.get_uint("moe_intermediate_size", intermediate_size),
          .is_sparse = std::vector<bool>(c.num_layers, false)};
  const uint64_t step = config.get_uint("decoder_sparse_step", 1);
  for (uint64_t i = 0; i < c.num_layers; ++i)
    moe.is_sparse[i] = moe.num_experts != 0 && step != 0 && (i + 1) % step == 0;
  for (const uint64_t i : config.get_uints("mlp_only_layers").value_or(std::vector<uint64_t>{}))
    if (i < c.num_layers) moe.is_sparse[i] = false;
  return moe;
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
    if (moe.is_sparse[i]) {
      b.module("mlp", c.class_name("SparseMoeBlock"), [&] {
        router(b, c, "gate", moe.num_experts);
        gated_experts(b, c, moe.num_experts, moe.intermediate_size);
        gated_mlp(b, "shared_expert", c.class_name("MLP"), c.hidden_size, shared_size, false, c.hidden_act);
        b.linear("shared_expert_gate", c.hidden_size, 1, false);
      });
    } else {
      decoder_mlp(b, c);
    }
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

}  // namespace

constexpr Architecture kQwen2Moe{"qwen2_moe", DecoderClasses<kQwen2MoeFamily, qwen2_moe>::kClasses};
constexpr Architecture kQwen3Moe{"qwen3_moe", DecoderClasses<kQwen3MoeFamily, qwen3_moe>::kClasses};

}  // namespace hfload
