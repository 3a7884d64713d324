#include "core/model/architecture/decoder.h"
#include "core/model/architecture/registry.h"

/// OLMo (norms without parameters), OLMo 2 and OLMo 3 (norms after attention and MLP, and over whole
/// projections of queries and keys). Their ForSequenceClassification came with transformers 5.
namespace hfload {
namespace {

constexpr DecoderFamily kOlmoFamily{.prefix = "Olmo",
                                    .vocab_size = 50304,
                                    .hidden_size = 4096,
                                    .intermediate_size = 11008,
                                    .num_layers = 32,
                                    .num_heads = 32,
                                    .heads = DecoderHeads::sequence,
                                    .norm = NormKind::without_parameters,
                                    .adjust = read_attention_bias};

constexpr DecoderFamily kOlmo2Family{
    .prefix = "Olmo2",
    .vocab_size = 50304,
    .hidden_size = 4096,
    .intermediate_size = 11008,
    .num_layers = 32,
    .num_heads = 32,
    .heads = DecoderHeads::sequence,
    .layer_norms = {"post_attention_layernorm", "post_feedforward_layernorm"},
    .qk_norm = QkNorm::over_projection,
    .adjust = read_attention_bias};

constexpr DecoderFamily kOlmo3Family{
    .prefix = "Olmo3",
    .vocab_size = 50304,
    .hidden_size = 4096,
    .intermediate_size = 11008,
    .num_layers = 32,
    .num_heads = 32,
    .heads = DecoderHeads::sequence,
    .layer_norms = {"post_attention_layernorm", "post_feedforward_layernorm"},
    .qk_norm = QkNorm::over_projection,
    .adjust = [](DecoderConfig& c, const ModelConfig& config) {
      read_attention_bias(c, config);
      read_sliding_window(c, config, 4096);
      read_layer_types(c, config, [](uint64_t i) { return (i + 1) % 4 != 0; });
    }};

/// Rotary embeddings differ by kind of layer: in transformers 4 these are two modules, in 5 one with the
/// buffers of both.
void declare_olmo3(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kOlmo3Family);
  b.embedding("embed_tokens", c.vocab_size, c.hidden_size);
  decoder_layers(b, c, [&](uint64_t i) { decoder_layer(b, c, i); });
  decoder_norm(b, c, "norm", c.hidden_size);
  if (b.is_v5()) {
    rotary_embedding_by_layer_type(b, c);
    return;
  }
  b.module("rotary_embs", "ModuleDict", [&] {
    for (const std::string_view name : {"sliding_attention", "full_attention"})
      b.rotary_embedding(name, "Olmo3RotaryEmbedding", c.rotary_frequencies);
  });
}

}  // namespace

constexpr Architecture kOlmo{"olmo", DecoderClasses<kOlmoFamily>::kClasses};
constexpr Architecture kOlmo2{"olmo2", DecoderClasses<kOlmo2Family>::kClasses};
constexpr Architecture kOlmo3{"olmo3", DecoderClasses<kOlmo3Family, declare_olmo3>::kClasses};

}  // namespace hfload
