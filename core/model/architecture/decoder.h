#pragma once

#include <array>
#include <concepts>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/model/architecture/heads.h"

/// The skeleton that most decoders share (4.57, modeling_llama.py and its kin): `embed_tokens`, `layers`,
/// `norm`, `rotary_emb`; a layer of `self_attn` (q_proj, k_proj, v_proj, o_proj), `mlp` (gate_proj, up_proj,
/// down_proj) and norms. A family says in a DecoderFamily where it differs, and puts the pieces below
/// together itself where that is not enough.
namespace hfload {

struct DecoderConfig;

enum class NormKind : uint8_t {
  rms,                 ///< the family's own RMSNorm
  layer_norm,          ///< torch.nn.LayerNorm
  weight_only,         ///< the family's own LayerNorm: a weight and no bias
  without_parameters,  ///< the family's own LayerNorm: neither
};

/// Norms of queries and keys, `q_norm` and `k_norm` after the projections.
enum class QkNorm : uint8_t {
  none,
  per_head,         ///< weight (head_dim), shared by all heads
  over_projection,  ///< weight (heads * head_dim)
  weight_per_head,  ///< weight (heads, head_dim)
};

/// The heads that a family has beside the base model and ForCausalLM; each includes those before it.
enum class DecoderHeads : uint8_t { causal_lm = 2, sequence = 3, token = 4, question_answering = 5 };

/// What one family declares: the defaults of its configuration class and its departures from the skeleton.
struct DecoderFamily {
  std::string_view prefix;  ///< of class names: "Llama"
  uint64_t vocab_size, hidden_size, intermediate_size, num_layers, num_heads;
  uint64_t num_kv_heads = 0;  ///< 0: as many as attention heads
  uint64_t head_dim = 0;      ///< 0: hidden_size / num_heads
  std::string_view hidden_act = "silu";
  bool intermediate_size_by_layer = false;  ///< the config may have a list, which the family reads itself
  bool tie_word_embeddings = false;
  bool lm_head_bias = false;
  DecoderHeads heads = DecoderHeads::causal_lm;
  /// The name of the base model, and prefix, in ForQuestionAnswering.
  std::string_view question_answering_attribute = "transformer";
  NormKind norm = NormKind::rms;
  NameList layer_norms = {"input_layernorm", "post_attention_layernorm"};
  QkNorm qk_norm = QkNorm::none;
  /// The default of partial_rotary_factor, where the family's own rotary embedding heeds it; transformers 4
  /// and all scaled rope types heed it in every family.
  std::optional<double> partial_rotary_factor = {};
  /// Reads what else the family's config has: biases, sliding window, layer types.
  void (*adjust)(DecoderConfig& c, const ModelConfig& config) = nullptr;
};

struct DecoderConfig {
  const DecoderFamily& family;
  uint64_t vocab_size = 0, hidden_size = 0, intermediate_size = 0, num_layers = 0;
  uint64_t num_heads = 0, num_kv_heads = 0, head_dim = 0, rotary_frequencies = 0;
  std::string hidden_act = {};
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  QkNorm qk_norm = QkNorm::none;
  /// Tokens that a layer with a sliding window attends to; 0: none has one.
  uint64_t sliding_window = 0;
  /// "sliding_attention" where a layer has the window; empty: all layers do.
  std::vector<std::string> layer_types = {};

  /// The name of one of the family's classes: class_name("MLP") is "LlamaMLP".
  std::string class_name(std::string_view suffix) const { return std::string(family.prefix).append(suffix); }
  /// Tokens that layer i attends to; 0 for all.
  uint64_t window_of(uint64_t i) const;
};

/// `adjust` included.
DecoderConfig read_decoder_config(const ModuleBuilder& b, const ModelConfig& config,
                                  const DecoderFamily& family);
/// For `adjust`: `attention_bias` of the four projections.
void read_attention_bias(DecoderConfig& c, const ModelConfig& config);
/// For `adjust`: `sliding_window`, with the default where the key is absent; an explicit null means none.
void read_sliding_window(DecoderConfig& c, const ModelConfig& config, uint64_t fallback);
/// For `adjust`: `layer_types` of the config, or else a window in the layers that `is_sliding(i)` says.
template <typename IsSliding>
void read_layer_types(DecoderConfig& c, const ModelConfig& config, IsSliding&& is_sliding) {
  c.layer_types = config.get_strings("layer_types").value_or(std::vector<std::string>{});
  for (uint64_t i = c.layer_types.size(); i < c.num_layers; ++i)
    c.layer_types.emplace_back(is_sliding(i) ? "sliding_attention" : "full_attention");
}
/// For `adjust`: the window of Qwen's configs, off unless `use_sliding_window`, in layers from
/// `max_window_layers` on.
void read_windowed_tail(DecoderConfig& c, const ModelConfig& config);
/// For `adjust`: `layer_types`, or else a window in all but every `sliding_window_pattern`-th layer.
void read_window_pattern(DecoderConfig& c, const ModelConfig& config);
/// Half of the dimensions that rotary embeddings turn: the length of inv_freq.
uint64_t rotary_frequencies(const ModuleBuilder& b, const ModelConfig& config, uint64_t head_dim,
                            std::optional<double> partial_rotary_factor);

/// A norm of the family's kind.
void decoder_norm(ModuleBuilder& b, const DecoderConfig& c, std::string_view name, uint64_t features);
/// The norms that `layer_norms` names.
void decoder_layer_norms(ModuleBuilder& b, const DecoderConfig& c);
/// q_proj, k_proj, v_proj and o_proj in the open module.
void attention_projections(ModuleBuilder& b, const DecoderConfig& c);
/// What `self_attn` of layer i has: projections, norms of queries and keys, cache.
void fill_attention(ModuleBuilder& b, const DecoderConfig& c, uint64_t i);
/// The rotary embedding of transformers 5 that has buffers for each kind of layer by itself: "<layer
/// type>_inv_freq", in the order of the types' names.
void rotary_embedding_by_layer_type(ModuleBuilder& b, const DecoderConfig& c);
/// `self_attn` of layer i, with its cache.
void decoder_attention(ModuleBuilder& b, const DecoderConfig& c, uint64_t i);
/// gate_proj, up_proj, down_proj and act_fn in a module of that name.
void gated_mlp(ModuleBuilder& b, std::string_view name, std::string_view class_name, uint64_t hidden_size,
               uint64_t intermediate_size, bool bias, std::string_view hidden_act);
/// `mlp` of the family's class as gated_mlp.
void decoder_mlp(ModuleBuilder& b, const DecoderConfig& c);
/// `mlp` with gate and up projections in one: gate_up_proj, down_proj, activation_fn, without biases.
void fused_gated_mlp(ModuleBuilder& b, const DecoderConfig& c);
/// Attention, gated MLP and norms of layer i, which is open.
void decoder_layer(ModuleBuilder& b, const DecoderConfig& c, uint64_t i);
/// The list `layers`; `layer(i)` fills decoder layer i.
template <std::invocable<uint64_t> Layer>
void decoder_layers(ModuleBuilder& b, const DecoderConfig& c, Layer&& layer) {
  const std::string class_name = c.class_name("DecoderLayer");
  b.list("layers", c.num_layers, [&](uint64_t i) { b.module(index_name(i), class_name, [&] { layer(i); }); });
}
/// The base model's children: embed_tokens, layers, norm, rotary_emb. `layer(i)` fills decoder layer i.
template <std::invocable<uint64_t> Layer>
void decoder_model(ModuleBuilder& b, const DecoderConfig& c, Layer&& layer) {
  b.embedding("embed_tokens", c.vocab_size, c.hidden_size);
  decoder_layers(b, c, layer);
  decoder_norm(b, c, "norm", c.hidden_size);
  b.rotary_embedding("rotary_emb", c.class_name("RotaryEmbedding"), c.rotary_frequencies);
}
/// The base model of a family that is no more than its DecoderFamily.
void declare_decoder(ModuleBuilder& b, const ModelConfig& config, const DecoderFamily& family);

template <const DecoderFamily& kFamily>
void declare_decoder(ModuleBuilder& b, const ModelConfig& config) {
  declare_decoder(b, config, kFamily);
}

/// The family's model classes, the base model as `kDeclare` fills it.
template <const DecoderFamily& kFamily,
          void (*kDeclare)(ModuleBuilder&, const ModelConfig&) = declare_decoder<kFamily>>
class DecoderClasses {
  struct Name {
    std::array<char, 48> text{};
    size_t size = 0;
    constexpr explicit Name(std::string_view suffix) {
      for (const char ch : kFamily.prefix) text.at(size++) = ch;
      for (const char ch : suffix) text.at(size++) = ch;
    }
    constexpr std::string_view view() const { return {text.data(), size}; }
  };
  static constexpr Name kModel{"Model"}, kCausalLm{"ForCausalLM"}, kSequence{"ForSequenceClassification"},
      kToken{"ForTokenClassification"}, kQuestionAnswering{"ForQuestionAnswering"}, kLayer{"DecoderLayer"};
  static constexpr NameList kNoSplit{kLayer.view()};

  static void question_answering(ModuleBuilder& b, const ModelConfig& config) {
    heads::question_answering(b, config, kBase, kFamily.question_answering_attribute);
  }

 public:
  static constexpr BaseModel kBase{.class_name = kModel.view(),
                                   .declare = kDeclare,
                                   .vocab_size = kFamily.vocab_size,
                                   .hidden_size = kFamily.hidden_size,
                                   .tie_word_embeddings = kFamily.tie_word_embeddings,
                                   .lm_head_bias = kFamily.lm_head_bias};

 private:
  static constexpr ModelClass kAll[] = {
      {kCausalLm.view(), "model", causal_lm<kBase>, kNoSplit},
      {kModel.view(), "model", base_model<kBase>, kNoSplit},
      {kSequence.view(), "model", sequence_classification<kBase>, kNoSplit},
      {kToken.view(), "model", token_classification<kBase>, kNoSplit},
      {kQuestionAnswering.view(), kFamily.question_answering_attribute, question_answering, kNoSplit},
  };

 public:
  static constexpr std::span<const ModelClass> kClasses =
      std::span<const ModelClass>(kAll).first(static_cast<size_t>(kFamily.heads));
};

}  // namespace hfload
