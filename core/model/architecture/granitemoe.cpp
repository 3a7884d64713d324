#include "core/model/architecture/decoder_parts.h"
#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// Granite MoE, with shared experts and without, as models/granitemoe and models/granitemoeshared of
/// transformers 4.57 and 5 build them.
namespace hfload {
namespace {

constexpr DecoderDefaults kDefaults{32000, 4096, 11008, 32, 32};

void experts(ModuleBuilder& b, const DecoderSizes& s, std::string_view prefix, uint64_t num_experts) {
  b.module("block_sparse_moe", class_of(prefix, "MoE"), [&] {
    if (b.is_v5()) {
      router(b, "router", class_of(prefix, "TopKRouter"), num_experts, s.hidden_size);
      stacked_experts(b, class_of(prefix, "Experts"), num_experts, s.hidden_size, s.intermediate_size,
                      s.hidden_act);
      return;
    }
    const std::string parallel_experts = class_of(prefix, "ParallelExperts");
    b.activation("activation", s.hidden_act);
    b.module("input_linear", parallel_experts, [&] {
      b.parameter("weight", {num_experts, 2 * s.intermediate_size, s.hidden_size});
    });
    b.module("output_linear", parallel_experts, [&] {
      b.parameter("weight", {num_experts, s.hidden_size, s.intermediate_size});
    });
    b.module("router", class_of(prefix, "TopKGating"),
             [&] { b.linear("layer", s.hidden_size, num_experts, false); });
  });
}

void shared_mlp(ModuleBuilder& b, const DecoderSizes& s, std::string_view prefix, uint64_t shared_size) {
  b.module("shared_mlp", class_of(prefix, "MLP"), [&] {
    b.activation("activation", s.hidden_act);
    b.linear("input_linear", s.hidden_size, 2 * shared_size, false);
    b.linear("output_linear", shared_size, s.hidden_size, false);
  });
}

void decoder(ModuleBuilder& b, const ModelConfig& config, std::string_view prefix, uint64_t shared_size) {
  const DecoderSizes s = read_decoder_sizes(config, kDefaults);
  const uint64_t num_experts = config.get_count("num_local_experts", 8);
  decoder_stack(b, prefix, s, s.head_dim, [&](uint64_t) {
    b.module("self_attn", class_of(prefix, "Attention"), [&] { attention_projections(b, s, 0); });
    if (!b.is_v5() && num_experts != 0) experts(b, s, prefix, num_experts);
    b.rms_norm("input_layernorm", class_of(prefix, "RMSNorm"), s.hidden_size);
    b.rms_norm("post_attention_layernorm", class_of(prefix, "RMSNorm"), s.hidden_size);
    if (b.is_v5()) experts(b, s, prefix, num_experts);
    if (shared_size != 0) shared_mlp(b, s, prefix, shared_size);
  });
}

void granitemoe(ModuleBuilder& b, const ModelConfig& config) { decoder(b, config, "GraniteMoe", 0); }

void granitemoeshared(ModuleBuilder& b, const ModelConfig& config) {
  decoder(b, config, "GraniteMoeShared", config.get_uint("shared_intermediate_size", 0));
}

constexpr BaseModel kModel{"GraniteMoeModel", granitemoe, 32000, 4096};
constexpr BaseModel kSharedModel{"GraniteMoeSharedModel", granitemoeshared, 32000, 4096};

constexpr ModelClass kClasses[] = {
    {"GraniteMoeForCausalLM", "model", causal_lm<kModel>, {"GraniteMoeDecoderLayer"}},
    {"GraniteMoeModel", "model", base_model<kModel>, {"GraniteMoeDecoderLayer"}},
};
constexpr ModelClass kSharedClasses[] = {
    {"GraniteMoeSharedForCausalLM", "model", causal_lm<kSharedModel>, {"GraniteMoeSharedDecoderLayer"}},
    {"GraniteMoeSharedModel", "model", base_model<kSharedModel>, {"GraniteMoeSharedDecoderLayer"}},
};

}  // namespace

constexpr Architecture kGraniteMoe{"granitemoe", kClasses};
constexpr Architecture kGraniteMoeShared{"granitemoeshared", kSharedClasses};

}  // namespace hfload
