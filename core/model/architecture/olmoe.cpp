#include "core/model/architecture/moe.h"
#include "core/model/architecture/registry.h"

/// OLMoE, as models/olmoe of transformers 4.57 and 5 builds it.
namespace hfload {
namespace {

constexpr DecoderFamily kFamily{.prefix = "Olmoe",
                                .vocab_size = 50304,
                                .hidden_size = 2048,
                                .intermediate_size = 2048,
                                .num_layers = 16,
                                .num_heads = 16,
                                .qk_norm = QkNorm::over_projection,
                                .adjust = read_attention_bias};

void olmoe(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kFamily);
  const uint64_t num_experts = config.get_count({"num_experts", "num_local_experts"}, 64);
  decoder_model(b, c, [&](uint64_t i) {
    b.module("self_attn", c.class_name(b.is_v5() ? "Attention" : "SdpaAttention"),
             [&] { fill_attention(b, c, i); });
    b.module("mlp", c.class_name("SparseMoeBlock"), [&] {
      router(b, c, "gate", num_experts);
      gated_experts(b, c, num_experts, c.intermediate_size);
    });
    decoder_layer_norms(b, c);
  });
}

}  // namespace

constexpr Architecture kOlmoe{"olmoe", DecoderClasses<kFamily, olmoe>::kClasses};

}  // namespace hfload
