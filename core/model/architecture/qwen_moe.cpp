#include <algorithm>

#include "core/model/architecture/decoder_parts.h"
#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// Qwen2-MoE and Qwen3-MoE, as models/qwen2_moe and models/qwen3_moe of transformers 4.57 and 5 build them.
namespace hfload {
namespace {

constexpr DecoderDefaults kQwen2Defaults{151936, 2048, 5632, 24, 16, 16};
constexpr DecoderDefaults kQwen3Defaults{151936, 2048, 6144, 24, 32, 4};

struct MoeConfig {
  uint64_t num_experts, intermediate_size, decoder_sparse_step;
  std::vector<uint64_t> mlp_only_layers;
  bool is_sparse(uint64_t i) const {
    return num_experts != 0 && std::ranges::count(mlp_only_layers, i) == 0 &&
           (decoder_sparse_step == 0 || (i + 1) % decoder_sparse_step == 0);
  }
};

MoeConfig read_moe(const ModelConfig& config, uint64_t num_experts, uint64_t intermediate_size) {
  return {
      .num_experts = config.get_count({"num_experts", "num_local_experts"}, num_experts),
      .intermediate_size = config.get_uint("moe_intermediate_size", intermediate_size),
      .decoder_sparse_step = config.get_uint("decoder_sparse_step", 1),
      .mlp_only_layers = config.get_uints("mlp_only_layers").value_or(std::vector<uint64_t>{}),
  };
}

/// Tokens of the layers that have a window; 0 when the config uses none.
uint64_t read_window(const ModelConfig& config) {
  const bool is_null = config.find("sliding_window") != nullptr;
  return config.get_bool("use_sliding_window", false) ? config.get_uint("sliding_window", is_null ? 0 : 4096)
                                                      : 0;
}

void experts(ModuleBuilder& b, const DecoderSizes& s, const MoeConfig& moe, std::string_view prefix) {
  if (b.is_v5()) {
    stacked_experts(b, class_of(prefix, "Experts"), moe.num_experts, s.hidden_size, moe.intermediate_size,
                    s.hidden_act);
    return;
  }
  b.list("experts", moe.num_experts, [&](uint64_t i) {
    gated_mlp(b, index_name(i), class_of(prefix, "MLP"), s.hidden_size, moe.intermediate_size, s.hidden_act);
  });
}

void gate(ModuleBuilder& b, const DecoderSizes& s, const MoeConfig& moe, std::string_view prefix) {
  router(b, "gate", b.is_v5() ? class_of(prefix, "TopKRouter") : "Linear", moe.num_experts, s.hidden_size);
}

void qwen2_moe(ModuleBuilder& b, const ModelConfig& config) {
  DecoderSizes s = read_decoder_sizes(config, kQwen2Defaults);
  s.qkv_bias = config.get_bool("qkv_bias", true);
  s.output_bias = false;
  const MoeConfig moe = read_moe(config, 60, 1408);
  const uint64_t shared_size = config.get_uint("shared_expert_intermediate_size", 5632);
  const uint64_t window = read_window(config);
  const uint64_t max_window_layers = config.get_uint("max_window_layers", 28);
  const auto types = config.get_strings("layer_types");
  const auto window_of = [&](uint64_t i) -> uint64_t {
    if (!b.is_v5()) return window;
    const bool sliding =
        types ? i < types->size() && (*types)[i] == "sliding_attention" : i % 2 == 0 && i < max_window_layers;
    return sliding ? window : 0;
  };
  decoder_stack(b, "Qwen2Moe", s, s.head_dim, [&](uint64_t i) {
    b.module("self_attn", b.is_v5() ? "Qwen2MoeAttention" : "Qwen2MoeSdpaAttention", [&] {
      attention_projections(b, s, window_of(i));
      if (!b.is_v5()) b.rotary_embedding("rotary_emb", "Qwen2MoeRotaryEmbedding", (s.head_dim + 1) / 2);
    });
    if (moe.is_sparse(i)) {
      b.module("mlp", "Qwen2MoeSparseMoeBlock", [&] {
        gate(b, s, moe, "Qwen2Moe");
        experts(b, s, moe, "Qwen2Moe");
        gated_mlp(b, "shared_expert", "Qwen2MoeMLP", s.hidden_size, shared_size, s.hidden_act);
        b.linear("shared_expert_gate", s.hidden_size, 1, false);
      });
    } else {
      gated_mlp(b, "mlp", "Qwen2MoeMLP", s.hidden_size, s.intermediate_size, s.hidden_act);
    }
    b.rms_norm("input_layernorm", "Qwen2MoeRMSNorm", s.hidden_size);
    b.rms_norm("post_attention_layernorm", "Qwen2MoeRMSNorm", s.hidden_size);
  });
}

void qwen3_moe(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderSizes s = read_decoder_sizes(config, kQwen3Defaults);
  const MoeConfig moe = read_moe(config, 128, 768);
  const uint64_t window = read_window(config);
  decoder_stack(b, "Qwen3Moe", s, s.head_dim, [&](uint64_t i) {
    b.module("self_attn", "Qwen3MoeAttention", [&] {
      attention_projections(b, s, window);
      b.rms_norm("q_norm", "Qwen3MoeRMSNorm", s.head_dim);
      b.rms_norm("k_norm", "Qwen3MoeRMSNorm", s.head_dim);
    });
    if (moe.is_sparse(i)) {
      b.module("mlp", "Qwen3MoeSparseMoeBlock", [&] {
        if (b.is_v5()) {
          experts(b, s, moe, "Qwen3Moe");
          gate(b, s, moe, "Qwen3Moe");
        } else {
          gate(b, s, moe, "Qwen3Moe");
          experts(b, s, moe, "Qwen3Moe");
        }
      });
    } else {
      gated_mlp(b, "mlp", "Qwen3MoeMLP", s.hidden_size, s.intermediate_size, s.hidden_act);
    }
    b.rms_norm("input_layernorm", "Qwen3MoeRMSNorm", s.hidden_size);
    b.rms_norm("post_attention_layernorm", "Qwen3MoeRMSNorm", s.hidden_size);
  });
}

constexpr BaseModel kQwen2MoeModel{"Qwen2MoeModel", qwen2_moe, 151936, 2048};
constexpr BaseModel kQwen3MoeModel{"Qwen3MoeModel", qwen3_moe, 151936, 2048};

constexpr ModelClass kQwen2MoeClasses[] = {
    {"Qwen2MoeForCausalLM", "model", causal_lm<kQwen2MoeModel>, {"Qwen2MoeDecoderLayer"}},
    {"Qwen2MoeModel", "model", base_model<kQwen2MoeModel>, {"Qwen2MoeDecoderLayer"}},
    {"Qwen2MoeForSequenceClassification",
     "model",
     sequence_classification<kQwen2MoeModel>,
     {"Qwen2MoeDecoderLayer"}},
    {"Qwen2MoeForTokenClassification",
     "model",
     token_classification<kQwen2MoeModel>,
     {"Qwen2MoeDecoderLayer"}},
    {"Qwen2MoeForQuestionAnswering", "model", question_answering<kQwen2MoeModel>, {"Qwen2MoeDecoderLayer"}},
};
constexpr ModelClass kQwen3MoeClasses[] = {
    {"Qwen3MoeForCausalLM", "model", causal_lm<kQwen3MoeModel>, {"Qwen3MoeDecoderLayer"}},
    {"Qwen3MoeModel", "model", base_model<kQwen3MoeModel>, {"Qwen3MoeDecoderLayer"}},
    {"Qwen3MoeForSequenceClassification",
     "model",
     sequence_classification<kQwen3MoeModel>,
     {"Qwen3MoeDecoderLayer"}},
    {"Qwen3MoeForTokenClassification",
     "model",
     token_classification<kQwen3MoeModel>,
     {"Qwen3MoeDecoderLayer"}},
    {.name = "Qwen3MoeForQuestionAnswering",
     .base_model_prefix = "transformer",
     .declare = transformer_question_answering<kQwen3MoeModel>,
     .no_split_modules = {"Qwen3MoeDecoderLayer"}},
};

}  // namespace

constexpr Architecture kQwen2Moe{"qwen2_moe", kQwen2MoeClasses};
constexpr Architecture kQwen3Moe{"qwen3_moe", kQwen3MoeClasses};

}  // namespace hfload
