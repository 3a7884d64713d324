#include "core/model/architecture/decoder_parts.h"
#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// Mixtral and Phi-3.5-MoE, as models/mixtral and models/phimoe of transformers 4.57 and 5 build them.
namespace hfload {
namespace {

constexpr DecoderDefaults kMixtralDefaults{32000, 4096, 14336, 32, 32, 8};
constexpr DecoderDefaults kPhimoeDefaults{32064, 4096, 6400, 32, 32, 8};

/// One of the v4 experts: w1 and w3 are its gate and up projections, w2 the down projection.
void expert(ModuleBuilder& b, const DecoderSizes& s, std::string_view class_name, uint64_t i) {
  b.module(index_name(i), class_name, [&] {
    b.linear("w1", s.hidden_size, s.intermediate_size, false);
    b.linear("w2", s.intermediate_size, s.hidden_size, false);
    b.linear("w3", s.hidden_size, s.intermediate_size, false);
    b.activation("act_fn", s.hidden_act);
  });
}

void sparse_block(ModuleBuilder& b, const DecoderSizes& s, std::string_view prefix, uint64_t num_experts,
                  std::string_view v5_router) {
  b.module(b.is_v5() ? "mlp" : "block_sparse_moe", class_of(prefix, "SparseMoeBlock"), [&] {
    if (b.is_v5()) {
      router(b, v5_router, class_of(prefix, "TopKRouter"), num_experts, s.hidden_size);
      stacked_experts(b, class_of(prefix, "Experts"), num_experts, s.hidden_size, s.intermediate_size,
                      s.hidden_act);
    } else {
      b.linear("gate", s.hidden_size, num_experts, false);
      b.list("experts", num_experts,
             [&](uint64_t i) { expert(b, s, class_of(prefix, "BlockSparseTop2MLP"), i); });
    }
  });
}

void mixtral(ModuleBuilder& b, const ModelConfig& config) {
  DecoderSizes s = read_decoder_sizes(config, kMixtralDefaults);
  s.qkv_bias = s.output_bias = false;
  const uint64_t num_experts = config.get_count("num_local_experts", 8);
  const uint64_t window = config.get_uint("sliding_window", 0);
  decoder_stack(b, "Mixtral", s, s.head_dim, [&](uint64_t) {
    b.module("self_attn", "MixtralAttention", [&] { attention_projections(b, s, window); });
    sparse_block(b, s, "Mixtral", num_experts, "gate");
    b.rms_norm("input_layernorm", "MixtralRMSNorm", s.hidden_size);
    b.rms_norm("post_attention_layernorm", "MixtralRMSNorm", s.hidden_size);
  });
}

void phimoe(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderSizes s = read_decoder_sizes(config, kPhimoeDefaults);
  const uint64_t num_experts = config.get_count("num_local_experts", 16);
  const uint64_t window = config.get_uint("sliding_window", 0);
  b.embedding("embed_tokens", s.vocab_size, s.hidden_size);
  b.list("layers", s.num_layers, [&](uint64_t i) {
    b.module(index_name(i), "PhimoeDecoderLayer", [&] {
      b.module("self_attn", b.is_v5() ? "PhimoeAttention" : "PhimoeSdpaAttention",
               [&] { attention_projections(b, s, window); });
      sparse_block(b, s, "Phimoe", num_experts, "router");
      b.layer_norm("input_layernorm", s.hidden_size);
      b.layer_norm("post_attention_layernorm", s.hidden_size);
    });
  });
  b.layer_norm("norm", s.hidden_size);
  if (b.is_v5()) {
    b.rotary_embedding("rotary_emb", "PhimoeRotaryEmbedding", (s.head_dim + 1) / 2);
  } else {
    b.module("rotary_emb", "PhimoeRotaryEmbedding");
  }
}

constexpr BaseModel kMixtralModel{"MixtralModel", mixtral, 32000, 4096};
constexpr BaseModel kPhimoeModel{"PhimoeModel", phimoe, 32064, 4096};

void phimoe_causal_lm(ModuleBuilder& b, const ModelConfig& config) {
  BaseModel base = kPhimoeModel;
  base.lm_head_bias = config.get_bool("lm_head_bias", false);
  heads::causal_lm(b, config, base);
}

constexpr ModelClass kMixtralClasses[] = {
    {"MixtralForCausalLM", "model", causal_lm<kMixtralModel>, {"MixtralDecoderLayer"}},
    {"MixtralModel", "model", base_model<kMixtralModel>, {"MixtralDecoderLayer"}},
    {"MixtralForSequenceClassification",
     "model",
     sequence_classification<kMixtralModel>,
     {"MixtralDecoderLayer"}},
    {"MixtralForTokenClassification", "model", token_classification<kMixtralModel>, {"MixtralDecoderLayer"}},
    {"MixtralForQuestionAnswering", "model", question_answering<kMixtralModel>, {"MixtralDecoderLayer"}},
};
constexpr ModelClass kPhimoeClasses[] = {
    {"PhimoeForCausalLM", "model", phimoe_causal_lm, {"PhimoeDecoderLayer"}},
    {"PhimoeModel", "model", base_model<kPhimoeModel>, {"PhimoeDecoderLayer"}},
    {"PhimoeForSequenceClassification",
     "model",
     sequence_classification<kPhimoeModel>,
     {"PhimoeDecoderLayer"}},
};

}  // namespace

constexpr Architecture kMixtral{"mixtral", kMixtralClasses};
constexpr Architecture kPhimoe{"phimoe", kPhimoeClasses};

}  // namespace hfload
