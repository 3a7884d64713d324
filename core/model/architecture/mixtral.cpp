#include "core/model/architecture/moe.h"
#include "core/model/architecture/registry.h"

/// Mixtral and Phi-3.5-MoE, as models/mixtral and models/phimoe of transformers 4.57 and 5 build them.
namespace hfload {
namespace {

void adjust_mixtral(DecoderConfig& c, const ModelConfig& config) { read_sliding_window(c, config, 0); }

void adjust_phimoe(DecoderConfig& c, const ModelConfig& config) {
  read_attention_bias(c, config);
  read_sliding_window(c, config, 0);
}

/// `mlp`, in transformers 4 `block_sparse_moe` of experts whose w1, w3 and w2 are the gate, up and down
/// projections.
void sparse_block(ModuleBuilder& b, const DecoderConfig& c, uint64_t num_experts,
                  std::string_view v5_router) {
  b.module(b.is_v5() ? "mlp" : "block_sparse_moe", c.class_name("SparseMoeBlock"), [&] {
    router(b, c, b.is_v5() ? v5_router : "gate", num_experts);
    if (b.is_v5()) return stacked_experts(b, c, num_experts, c.intermediate_size);
    b.list("experts", num_experts, [&](uint64_t i) {
      b.module(index_name(i), c.class_name("BlockSparseTop2MLP"), [&] {
        b.linear("w1", c.hidden_size, c.intermediate_size, false);
        b.linear("w2", c.intermediate_size, c.hidden_size, false);
        b.linear("w3", c.hidden_size, c.intermediate_size, false);
        b.activation("act_fn", c.hidden_act);
      });
    });
  });
}

constexpr DecoderFamily kMixtralFamily{.prefix = "Mixtral",
                                       .vocab_size = 32000,
                                       .hidden_size = 4096,
                                       .intermediate_size = 14336,
                                       .num_layers = 32,
                                       .num_heads = 32,
                                       .num_kv_heads = 8,
                                       .heads = DecoderHeads::question_answering,
                                       .question_answering_attribute = "model",
                                       .adjust = adjust_mixtral};
constexpr DecoderFamily kPhimoeFamily{.prefix = "Phimoe",
                                      .vocab_size = 32064,
                                      .hidden_size = 4096,
                                      .intermediate_size = 6400,
                                      .num_layers = 32,
                                      .num_heads = 32,
                                      .num_kv_heads = 8,
                                      .heads = DecoderHeads::sequence,
                                      .norm = NormKind::layer_norm,
                                      .adjust = adjust_phimoe};

void mixtral(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kMixtralFamily);
  const uint64_t num_experts = config.get_count("num_local_experts", 8);
  decoder_model(b, c, [&](uint64_t i) {
    decoder_attention(b, c, i);
    sparse_block(b, c, num_experts, "gate");
    decoder_layer_norms(b, c);
  });
}

void phimoe(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kPhimoeFamily);
  const uint64_t num_experts = config.get_count("num_local_experts", 16);
  b.embedding("embed_tokens", c.vocab_size, c.hidden_size);
  decoder_layers(b, c, [&](uint64_t i) {
    b.module("self_attn", c.class_name(b.is_v5() ? "Attention" : "SdpaAttention"),
             [&] { fill_attention(b, c, i); });
    sparse_block(b, c, num_experts, "router");
    decoder_layer_norms(b, c);
  });
  decoder_norm(b, c, "norm", c.hidden_size);
  // Transformers 4 computes the rotary embedding in its forward pass, and keeps nothing of it.
  if (b.is_v5()) {
    b.rotary_embedding("rotary_emb", "PhimoeRotaryEmbedding", c.rotary_frequencies);
  } else {
    b.module("rotary_emb", "PhimoeRotaryEmbedding");
  }
}

constexpr BaseModel kPhimoeModel{"PhimoeModel", phimoe, 32064, 4096};

void phimoe_causal_lm(ModuleBuilder& b, const ModelConfig& config) {
  BaseModel base = kPhimoeModel;
  base.lm_head_bias = config.get_bool("lm_head_bias", false);
  heads::causal_lm(b, config, base);
}

constexpr ModelClass kPhimoeClasses[] = {
    {"PhimoeForCausalLM", "model", phimoe_causal_lm, {"PhimoeDecoderLayer"}},
    {"PhimoeModel", "model", phimoe, {"PhimoeDecoderLayer"}},
    {"PhimoeForSequenceClassification",
     "model",
     sequence_classification<kPhimoeModel>,
     {"PhimoeDecoderLayer"}},
};

}  // namespace

constexpr Architecture kMixtral{"mixtral", DecoderClasses<kMixtralFamily, mixtral>::kClasses};
constexpr Architecture kPhimoe{"phimoe", kPhimoeClasses};

}  // namespace hfload
