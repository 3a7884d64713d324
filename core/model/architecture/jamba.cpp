#include "core/base/error.h"
#include "core/model/architecture/mamba.h"
#include "core/model/architecture/moe.h"
#include "core/model/architecture/registry.h"

/// Jamba, as models/jamba of transformers 4.57 and 5 builds it: layers of Mamba, some of attention, and
/// experts in every so manieth.
namespace hfload {
namespace {

constexpr DecoderFamily kFamily{.prefix = "Jamba",
                                .vocab_size = 65536,
                                .hidden_size = 4096,
                                .intermediate_size = 14336,
                                .num_layers = 32,
                                .num_heads = 32,
                                .num_kv_heads = 8,
                                .layer_norms = {"input_layernorm", "pre_ff_layernorm"}};

/// Every layer whose number leaves `offset` when divided by `period`.
struct Period {
  uint64_t period, offset;
  bool has(uint64_t i) const { return i % period == offset; }
};

Period read_period(const ModelConfig& config, const char* period_key, uint64_t period, const char* offset_key,
                   uint64_t offset) {
  const Period p{config.get_uint(period_key, period), config.get_uint(offset_key, offset)};
  if (p.period == 0) throw Error(ErrorCode::invalid_config, std::string(period_key) + " is 0");
  return p;
}

void mamba_layer(ModuleBuilder& b, const DecoderConfig& c, const MambaMixer& m) {
  b.module("mamba", "JambaMambaMixer", [&] {
    mamba_mixer(b, m);
    decoder_norm(b, c, "dt_layernorm", m.time_step_rank);
    decoder_norm(b, c, "b_layernorm", m.state_size);
    decoder_norm(b, c, "c_layernorm", m.state_size);
  });
}

void jamba(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kFamily);
  const uint64_t num_experts = config.get_count({"num_experts", "num_local_experts"}, 16);
  const Period attention = read_period(config, "attn_layer_period", 8, "attn_layer_offset", 4);
  const Period experts = read_period(config, "expert_layer_period", 2, "expert_layer_offset", 1);
  const MambaMixer mixer{.hidden_size = c.hidden_size,
                         .intermediate_size = expanded_size(config, "mamba_expand", 2, c.hidden_size),
                         .state_size = config.get_uint("mamba_d_state", 16),
                         .conv_kernel = config.get_uint("mamba_d_conv", 4),
                         .time_step_rank = time_step_rank(config, "mamba_dt_rank", c.hidden_size),
                         .bias = config.get_bool("mamba_proj_bias", false),
                         .conv_bias = config.get_bool("mamba_conv_bias", true),
                         .hidden_act = c.hidden_act,
                         .a_log_dtype = b.default_dtype()};
  b.embedding("embed_tokens", c.vocab_size, c.hidden_size);
  b.list("layers", c.num_layers, [&](uint64_t i) {
    const bool is_attention = attention.has(i);
    b.module(index_name(i), is_attention ? "JambaAttentionDecoderLayer" : "JambaMambaDecoderLayer", [&] {
      if (is_attention) {
        b.module("self_attn", b.is_v5() ? "JambaAttention" : "JambaSdpaAttention",
                 [&] { fill_attention(b, c, i); });
      } else {
        mamba_layer(b, c, mixer);
      }
      if (experts.has(i) && num_experts > 1) {
        b.module("feed_forward", "JambaSparseMoeBlock", [&] {
          router(b, c, "router", num_experts);
          gated_experts(b, c, num_experts, c.intermediate_size);
        });
      } else {
        gated_mlp(b, "feed_forward", "JambaMLP", c.hidden_size, c.intermediate_size, false, c.hidden_act);
      }
      decoder_layer_norms(b, c);
    });
  });
  decoder_norm(b, c, "final_layernorm", c.hidden_size);
}

constexpr const BaseModel& kBase = DecoderClasses<kFamily, jamba>::kBase;
constexpr NameList kNoSplit = {"JambaAttentionDecoderLayer", "JambaMambaDecoderLayer"};

constexpr ModelClass kClasses[] = {
    {"JambaForCausalLM", "model", causal_lm<kBase>, kNoSplit},
    {"JambaModel", "model", base_model<kBase>, kNoSplit},
    {"JambaForSequenceClassification", "model", sequence_classification<kBase>, kNoSplit},
};

}  // namespace

constexpr Architecture kJamba{"jamba", kClasses};

}  // namespace hfload
