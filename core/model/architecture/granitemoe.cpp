#include "core/model/architecture/moe.h"
#include "core/model/architecture/registry.h"

/// Granite MoE, with shared experts and without, as models/granitemoe and models/granitemoeshared of
/// transformers 4.57 and 5 build them.
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

}  // namespace

constexpr Architecture kGraniteMoe{"granitemoe", DecoderClasses<kFamily, granitemoe<kFamily>>::kClasses};
constexpr Architecture kGraniteMoeShared{"granitemoeshared",
                                         DecoderClasses<kSharedFamily, granitemoe<kSharedFamily>>::kClasses};

}  // namespace hfload
