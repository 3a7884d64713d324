#include "core/model/architecture/decoder.h"
#include "core/model/architecture/registry.h"

/// GLM-4 as transformers has it: `glm` (the 9B models of 2024) and `glm4` (those of 2025, with two more norms
/// a layer).
namespace hfload {
namespace {

constexpr DecoderFamily family(std::string_view prefix, NameList layer_norms) {
  return {.prefix = prefix,
          .vocab_size = 151552,
          .hidden_size = 4096,
          .intermediate_size = 13696,
          .num_layers = 40,
          .num_heads = 32,
          .num_kv_heads = 2,
          .head_dim = 128,
          .heads = DecoderHeads::token,
          .layer_norms = layer_norms,
          .partial_rotary_factor = 0.5,
          .adjust = [](DecoderConfig& c, const ModelConfig& config) {
            c.qkv_bias = config.get_bool("attention_bias", true);
          }};
}

constexpr DecoderFamily kGlmFamily = family("Glm", {"input_layernorm", "post_attention_layernorm"});
constexpr DecoderFamily kGlm4Family = family("Glm4", {"input_layernorm", "post_attention_layernorm",
                                                      "post_self_attn_layernorm", "post_mlp_layernorm"});

template <const DecoderFamily& kFamily>
void declare(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kFamily);
  decoder_model(b, c, [&](uint64_t i) {
    decoder_attention(b, c, i);
    fused_gated_mlp(b, c);
    decoder_layer_norms(b, c);
  });
}

}  // namespace

constexpr Architecture kGlm{"glm", DecoderClasses<kGlmFamily, declare<kGlmFamily>>::kClasses};
constexpr Architecture kGlm4{"glm4", DecoderClasses<kGlm4Family, declare<kGlm4Family>>::kClasses};

}  // namespace hfload
