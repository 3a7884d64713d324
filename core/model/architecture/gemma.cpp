#include "core/model/architecture/gemma.h"

#include "core/model/architecture/registry.h"

/// Gemma, Gemma 2 and the text models of Gemma 3, as transformers 4.57 and 5 build them.
namespace hfload {
namespace {

void adjust_gemma2(DecoderConfig& c, const ModelConfig& config) {
  read_attention_bias(c, config);
  c.hidden_act = config.get_string("hidden_activation", "gelu_pytorch_tanh");
  read_sliding_window(c, config, 4096);
  read_layer_types(c, config, [](uint64_t i) { return i % 2 == 0; });
}

void adjust_gemma3(DecoderConfig& c, const ModelConfig& config) {
  read_attention_bias(c, config);
  c.hidden_act = config.get_string("hidden_activation", "gelu_pytorch_tanh");
  read_sliding_window(c, config, 4096);
  if (config.get_bool("use_bidirectional_attention", false)) c.sliding_window = c.sliding_window / 2 + 1;
  const uint64_t pattern = config.get_uint("sliding_window_pattern", 6);
  read_layer_types(c, config, [&](uint64_t i) { return pattern == 0 || (i + 1) % pattern != 0; });
}

constexpr NameList kFourNorms = {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
                                 "post_feedforward_layernorm"};

constexpr DecoderFamily kGemmaFamily{.prefix = "Gemma",
                                     .vocab_size = 256000,
                                     .hidden_size = 3072,
                                     .intermediate_size = 24576,
                                     .num_layers = 28,
                                     .num_heads = 16,
                                     .num_kv_heads = 16,
                                     .head_dim = 256,
                                     .hidden_act = "gelu_pytorch_tanh",
                                     .tie_word_embeddings = true,
                                     .heads = DecoderHeads::token,
                                     .adjust = read_attention_bias};
constexpr DecoderFamily kGemma2Family{.prefix = "Gemma2",
                                      .vocab_size = 256000,
                                      .hidden_size = 2304,
                                      .intermediate_size = 9216,
                                      .num_layers = 26,
                                      .num_heads = 8,
                                      .num_kv_heads = 4,
                                      .head_dim = 256,
                                      .tie_word_embeddings = true,
                                      .heads = DecoderHeads::token,
                                      .layer_norms = kFourNorms,
                                      .adjust = adjust_gemma2};
constexpr DecoderFamily kGemma3Family{.prefix = "Gemma3",
                                      .vocab_size = kGemma3VocabSize,
                                      .hidden_size = kGemma3HiddenSize,
                                      .intermediate_size = 9216,
                                      .num_layers = 26,
                                      .num_heads = 8,
                                      .num_kv_heads = 4,
                                      .head_dim = 256,
                                      .tie_word_embeddings = true,
                                      .layer_norms = kFourNorms,
                                      .qk_norm = QkNorm::per_head,
                                      .adjust = adjust_gemma3};

/// An embedding that multiplies by a number of its own.
void scaled_embedding(ModuleBuilder& b, const DecoderConfig& c) {
  b.module("embed_tokens", c.class_name("TextScaledWordEmbedding"), [&] {
    b.parameter("weight", {c.vocab_size, c.hidden_size});
    // torch.tensor takes the default dtype, which is the model's while it is being built.
    b.buffer("embed_scale", {}, b.default_dtype(), false);
  });
}

/// Gemma 1 and 2.
template <const DecoderFamily& kFamily>
void gemma(ModuleBuilder& b, const ModelConfig& config) {
  DecoderConfig c = read_decoder_config(b, config, kFamily);
  // transformers 5 takes the name in Gemma's first checkpoints for the tanh approximation.
  if (&kFamily == &kGemmaFamily && b.is_v5() && c.hidden_act == "gelu") c.hidden_act = "gelu_pytorch_tanh";
  if (b.is_v5()) {
    scaled_embedding(b, c);
  } else {
    b.embedding("embed_tokens", c.vocab_size, c.hidden_size);
  }
  decoder_layers(b, c, [&](uint64_t i) { decoder_layer(b, c, i); });
  decoder_norm(b, c, "norm", c.hidden_size);
  b.rotary_embedding("rotary_emb", c.class_name("RotaryEmbedding"), c.rotary_frequencies);
}

constexpr NameList kV4NoSplit = {"Gemma3DecoderLayer", "SiglipVisionEmbeddings", "SiglipEncoderLayer",
                                 "SiglipMultiheadAttentionPoolingHead"};
constexpr BaseModel kGemma3TextModel{.class_name = "Gemma3TextModel",
                                     .declare = gemma3_text_model,
                                     .vocab_size = kGemma3VocabSize,
                                     .hidden_size = kGemma3HiddenSize,
                                     .tie_word_embeddings = true};

constexpr ModelClass gemma3_class(std::string_view name, std::string_view v4_prefix,
                                  void (*declare)(ModuleBuilder&, const ModelConfig&)) {
  return {.name = name,
          .base_model_prefix = v4_prefix,
          .declare = declare,
          .no_split_modules = kV4NoSplit,
          .v5_base_model_prefix = "model",
          .v5_no_split_modules = NameList{"Gemma3DecoderLayer"}};
}

constexpr ModelClass kGemma3TextClasses[] = {
    gemma3_class("Gemma3ForCausalLM", "language_model", causal_lm<kGemma3TextModel>),
    gemma3_class("Gemma3TextModel", "", gemma3_text_model),
    gemma3_class("Gemma3TextForSequenceClassification", "model", sequence_classification<kGemma3TextModel>),
};

}  // namespace

void gemma3_text_model(ModuleBuilder& b, const ModelConfig& text_config) {
  const DecoderConfig c = read_decoder_config(b, text_config, kGemma3Family);
  scaled_embedding(b, c);
  decoder_layers(b, c, [&](uint64_t i) { decoder_layer(b, c, i); });
  decoder_norm(b, c, "norm", c.hidden_size);
  if (b.is_v5()) return rotary_embedding_by_layer_type(b, c);
  b.rotary_embedding("rotary_emb", c.class_name("RotaryEmbedding"), c.rotary_frequencies);
  b.rotary_embedding("rotary_emb_local", c.class_name("RotaryEmbedding"), c.rotary_frequencies);
}

constexpr Architecture kGemma{"gemma", DecoderClasses<kGemmaFamily, gemma<kGemmaFamily>>::kClasses};
constexpr Architecture kGemma2{"gemma2", DecoderClasses<kGemma2Family, gemma<kGemma2Family>>::kClasses};
constexpr Architecture kGemma3Text{"gemma3_text", kGemma3TextClasses};

}  // namespace hfload
