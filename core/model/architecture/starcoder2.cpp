#include "core/model/architecture/decoder.h"
#include "core/model/architecture/registry.h"

/// StarCoder2: the attention of decoder.h, an MLP without a gate, biases everywhere.
namespace hfload {
namespace {

constexpr DecoderFamily kFamily{.prefix = "Starcoder2",
                                .vocab_size = 49152,
                                .hidden_size = 3072,
                                .intermediate_size = 12288,
                                .num_layers = 30,
                                .num_heads = 24,
                                .num_kv_heads = 2,
                                .hidden_act = "gelu_pytorch_tanh",
                                .tie_word_embeddings = true,
                                .heads = DecoderHeads::token,
                                .norm = NormKind::layer_norm,
                                .adjust = [](DecoderConfig& c, const ModelConfig& config) {
                                  c.qkv_bias = c.output_bias = c.mlp_bias = config.get_bool("use_bias", true);
                                  read_sliding_window(c, config, 0);
                                }};

void declare(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kFamily);
  decoder_model(b, c, [&](uint64_t i) {
    decoder_attention(b, c, i);
    b.module("mlp", "Starcoder2MLP", [&] {
      b.linear("c_fc", c.hidden_size, c.intermediate_size, c.mlp_bias);
      b.linear("c_proj", c.intermediate_size, c.hidden_size, c.mlp_bias);
      b.activation("act", c.hidden_act);
    });
    decoder_layer_norms(b, c);
  });
}

}  // namespace

constexpr Architecture kStarcoder2{"starcoder2", DecoderClasses<kFamily, declare>::kClasses};

}  // namespace hfload
