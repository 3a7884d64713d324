#include "core/model/architecture/mamba.h"
#include "core/model/architecture/moe.h"
#include "core/model/architecture/registry.h"

/// Granite MoE, with shared experts and without, and its hybrid with Mamba-2 (Granite 4.0), as
/// models/granitemoe, models/granitemoeshared and models/granitemoehybrid of transformers 4.57 and 5 build
/// them.
namespace hfload {
namespace {

void experts(ModuleBuilder& b, const DecoderConfig& c, uint64_t num_experts) {
  b.module("block_sparse_moe", c.class_name("MoE"), [&] {
    if (b.is_v5()) {
      router(b, c, "router", num_experts);
      stacked_experts(b, c, num_experts, c.intermediate_size);
      return;
    }
    const std::string parallel_experts = c.class_name("ParallelExperts");
    b.activation("activation", c.hidden_act);
    b.module("input_linear", parallel_experts, [&] {
      b.parameter("weight", {num_experts, 2 * c.intermediate_size, c.hidden_size});
    });
    b.module("output_linear", parallel_experts, [&] {
      b.parameter("weight", {num_experts, c.hidden_size, c.intermediate_size});
    });
    b.module("router", c.class_name("TopKGating"),
             [&] { b.linear("layer", c.hidden_size, num_experts, false); });
  });
}

void shared_mlp(ModuleBuilder& b, const DecoderConfig& c, uint64_t shared_size) {
  b.module("shared_mlp", c.class_name("MLP"), [&] {
    b.activation("activation", c.hidden_act);
    b.linear("input_linear", c.hidden_size, 2 * shared_size, false);
    b.linear("output_linear", shared_size, c.hidden_size, false);
  });
}

constexpr DecoderFamily kFamily{.prefix = "GraniteMoe",
                                .vocab_size = 32000,
                                .hidden_size = 4096,
                                .intermediate_size = 11008,
                                .num_layers = 32,
                                .num_heads = 32,
                                .adjust = read_attention_bias};
constexpr DecoderFamily kSharedFamily{.prefix = "GraniteMoeShared",
                                      .vocab_size = 32000,
                                      .hidden_size = 4096,
                                      .intermediate_size = 11008,
                                      .num_layers = 32,
                                      .num_heads = 32,
                                      .adjust = read_attention_bias};

template <const DecoderFamily& kEither>
void granitemoe(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kEither);
  const uint64_t num_experts = config.get_count("num_local_experts", 8);
  const uint64_t shared_size =
      &kEither == &kSharedFamily ? config.get_uint("shared_intermediate_size", 0) : 0;
  decoder_model(b, c, [&](uint64_t i) {
    decoder_attention(b, c, i);
    if (!b.is_v5() && num_experts != 0) experts(b, c, num_experts);
    decoder_layer_norms(b, c);
    if (b.is_v5()) experts(b, c, num_experts);
    if (shared_size != 0) shared_mlp(b, c, shared_size);
  });
}

constexpr DecoderFamily kHybridFamily{.prefix = "GraniteMoeHybrid",
                                      .vocab_size = 32000,
                                      .hidden_size = 4096,
                                      .intermediate_size = 11008,
                                      .num_layers = 32,
                                      .num_heads = 32,
                                      .adjust = read_attention_bias};

void hybrid(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kHybridFamily);
  const uint64_t num_experts = config.get_count("num_local_experts", 8);
  const uint64_t shared_size = config.get_uint("shared_intermediate_size", 1024);
  const std::string norm_class = c.class_name("RMSNormGated"), mamba_class = c.class_name("MambaLayer");
  const Mamba2Mixer mixer{
      .norm_class = norm_class,
      .hidden_size = c.hidden_size,
      .intermediate_size = expanded_size(config, "mamba_expand", 2, c.hidden_size),
      .num_heads = config.get_uint("mamba_n_heads", 128),
      .n_groups = config.get_uint("mamba_n_groups", 1),
      .state_size = config.get_uint("mamba_d_state", 256),
      .conv_kernel = config.get_uint("mamba_d_conv", 4),
      .bias = config.get_bool("mamba_proj_bias", false),
      .conv_bias = config.get_bool("mamba_conv_bias", true),
      .hidden_act = c.hidden_act,
  };
  const auto types = config.get_strings(config.find("layer_types") ? "layer_types" : "layers_block_type");
  const auto is_mamba = [&](uint64_t i) {
    return !types || i >= types->size() || (*types)[i] == "mamba" || (*types)[i] == "linear_attention";
  };
  b.embedding("embed_tokens", c.vocab_size, c.hidden_size);
  decoder_layers(b, c, [&](uint64_t i) {
    if (!b.is_v5() && num_experts != 0) experts(b, c, num_experts);
    decoder_layer_norms(b, c);
    if (b.is_v5() && num_experts != 0) experts(b, c, num_experts);
    shared_mlp(b, c, shared_size);
    if (is_mamba(i)) {
      b.module("mamba", mamba_class, [&] { mamba2_mixer(b, mixer); });
    } else {
      decoder_attention(b, c, i);
    }
  });
  decoder_norm(b, c, "norm", c.hidden_size);
  if (config.get_string("position_embedding_type", "") == "rope")
    b.rotary_embedding("rotary_emb", c.class_name("RotaryEmbedding"), c.rotary_frequencies);
}

}  // namespace

constexpr Architecture kGraniteMoe{"granitemoe", DecoderClasses<kFamily, granitemoe<kFamily>>::kClasses};
constexpr Architecture kGraniteMoeHybrid{"granitemoehybrid", DecoderClasses<kHybridFamily, hybrid>::kClasses};
constexpr Architecture kGraniteMoeShared{"granitemoeshared",
                                         DecoderClasses<kSharedFamily, granitemoe<kSharedFamily>>::kClasses};

}  // namespace hfload
