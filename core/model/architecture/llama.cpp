#include "core/model/architecture/decoder.h"
#include "core/model/architecture/registry.h"

/// Llama, Granite, SmolLM3 and InternLM: the skeleton of decoder.h, with other biases, windows and defaults.
namespace hfload {
namespace {

void read_biases(DecoderConfig& c, const ModelConfig& config) {
  read_attention_bias(c, config);
  c.mlp_bias = config.get_bool("mlp_bias", false);
}

constexpr DecoderFamily kLlamaFamily{.prefix = "Llama",
                                     .vocab_size = 32000,
                                     .hidden_size = 4096,
                                     .intermediate_size = 11008,
                                     .num_layers = 32,
                                     .num_heads = 32,
                                     .heads = DecoderHeads::question_answering,
                                     .adjust = read_biases};

constexpr DecoderFamily kGraniteFamily{.prefix = "Granite",
                                       .vocab_size = 32000,
                                       .hidden_size = 4096,
                                       .intermediate_size = 11008,
                                       .num_layers = 32,
                                       .num_heads = 32,
                                       .adjust = read_biases};

constexpr DecoderFamily kSmolLm3Family{.prefix = "SmolLM3",
                                       .vocab_size = 128256,
                                       .hidden_size = 2048,
                                       .intermediate_size = 11008,
                                       .num_layers = 36,
                                       .num_heads = 16,
                                       .num_kv_heads = 4,
                                       .tie_word_embeddings = true,
                                       .heads = DecoderHeads::question_answering,
                                       .adjust = [](DecoderConfig& c, const ModelConfig& config) {
                                         read_biases(c, config);
                                         if (!config.get_bool("use_sliding_window", false)) return;
                                         read_sliding_window(c, config, 0);
                                         // Every so manieth layer goes without rotary embeddings; it is those
                                         // that have the window.
                                         const auto has_rope = config.get_uints("no_rope_layers");
                                         const uint64_t interval =
                                             config.get_uint("no_rope_layer_interval", 4);
                                         read_layer_types(c, config, [&](uint64_t i) {
                                           if (has_rope) return i < has_rope->size() && (*has_rope)[i] == 0;
                                           return interval != 0 && (i + 1) % interval == 0;
                                         });
                                       }};

constexpr DecoderFamily kInternLmFamily{.prefix = "InternLM",
                                        .vocab_size = 103168,
                                        .hidden_size = 4096,
                                        .intermediate_size = 11008,
                                        .num_layers = 32,
                                        .num_heads = 32,
                                        .heads = DecoderHeads::sequence,
                                        .adjust = [](DecoderConfig& c, const ModelConfig& config) {
                                          c.num_kv_heads = c.num_heads;
                                          c.qkv_bias = c.output_bias = config.get_bool("bias", true);
                                        }};

/// Each attention of InternLM's own code (modeling_internlm.py beside the published checkpoints) has its
/// rotary embedding, with the tables of cosines and sines as buffers.
void declare_internlm(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kInternLmFamily);
  const std::string type = config.nested("rotary").get_string("type", "dynamic");
  const std::string_view rotary_class =
      type == "dynamic" ? "InternLMDynamicNTKScalingRotaryEmbedding" : "InternLMRotaryEmbedding";
  const uint64_t positions = config.get_uint("max_position_embeddings", 2048);
  b.embedding("embed_tokens", c.vocab_size, c.hidden_size);
  decoder_layers(b, c, [&](uint64_t i) {
    b.module("self_attn", "InternLMAttention", [&] {
      attention_projections(b, c);
      b.module("rotary_emb", rotary_class, [&] {
        b.buffer("inv_freq", {c.rotary_frequencies}, Dtype::f32, false);
        b.buffer("cos_cached", {positions, 2 * c.rotary_frequencies}, Dtype::f32, false);
        b.buffer("sin_cached", {positions, 2 * c.rotary_frequencies}, Dtype::f32, false);
      });
      b.attention_cache(c.num_kv_heads, c.head_dim, c.window_of(i));
    });
    b.module("mlp", "InternLMMLP", [&] {
      b.linear("gate_proj", c.hidden_size, c.intermediate_size, false);
      b.linear("down_proj", c.intermediate_size, c.hidden_size, false);
      b.linear("up_proj", c.hidden_size, c.intermediate_size, false);
      b.activation("act_fn", c.hidden_act);
    });
    decoder_layer_norms(b, c);
  });
  decoder_norm(b, c, "norm", c.hidden_size);
}

}  // namespace

constexpr Architecture kGranite{"granite", DecoderClasses<kGraniteFamily>::kClasses};
constexpr Architecture kInternLm{"internlm", DecoderClasses<kInternLmFamily, declare_internlm>::kClasses};
constexpr Architecture kLlama{"llama", DecoderClasses<kLlamaFamily>::kClasses};
constexpr Architecture kSmolLm3{"smollm3", DecoderClasses<kSmolLm3Family>::kClasses};

}  // namespace hfload
