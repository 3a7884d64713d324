#include "core/model/architecture/decoder_parts.h"
#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// OLMoE, as models/olmoe of transformers 4.57 and 5 builds it.
namespace hfload {
namespace {

constexpr DecoderDefaults kDefaults{50304, 2048, 2048, 16, 16};

void olmoe(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderSizes s = read_decoder_sizes(config, kDefaults);
  const uint64_t num_experts = config.get_count({"num_experts", "num_local_experts"}, 64);
  decoder_stack(b, "Olmoe", s, s.head_dim, [&](uint64_t) {
    b.module("self_attn", b.is_v5() ? "OlmoeAttention" : "OlmoeSdpaAttention", [&] {
      attention_projections(b, s, 0);
      b.rms_norm("q_norm", "OlmoeRMSNorm", s.hidden_size);
      b.rms_norm("k_norm", "OlmoeRMSNorm", s.hidden_size / s.num_heads * s.num_kv_heads);
    });
    b.module("mlp", "OlmoeSparseMoeBlock", [&] {
      router(b, "gate", b.is_v5() ? "OlmoeTopKRouter" : "Linear", num_experts, s.hidden_size);
      if (b.is_v5()) {
        stacked_experts(b, "OlmoeExperts", num_experts, s.hidden_size, s.intermediate_size, s.hidden_act);
      } else {
        b.list("experts", num_experts, [&](uint64_t i) {
          gated_mlp(b, index_name(i), "OlmoeMLP", s.hidden_size, s.intermediate_size, s.hidden_act);
        });
      }
    });
    b.rms_norm("input_layernorm", "OlmoeRMSNorm", s.hidden_size);
    b.rms_norm("post_attention_layernorm", "OlmoeRMSNorm", s.hidden_size);
  });
}

constexpr BaseModel kModel{"OlmoeModel", olmoe, 50304, 2048};

constexpr ModelClass kClasses[] = {
    {"OlmoeForCausalLM", "model", causal_lm<kModel>, {"OlmoeDecoderLayer"}},
    {"OlmoeModel", "model", base_model<kModel>, {"OlmoeDecoderLayer"}},
};

}  // namespace

constexpr Architecture kOlmoe{"olmoe", kClasses};

}  // namespace hfload
