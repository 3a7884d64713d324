#include "core/model/architecture/decoder.h"
#include "core/model/architecture/registry.h"

/// Llama, Mistral and Qwen2, as transformers 4.57 builds them: the skeleton of decoder.h, with other biases,
/// windows and defaults.
namespace hfload {
namespace {

constexpr DecoderFamily kLlamaFamily{.prefix = "Llama",
                                     .vocab_size = 32000,
                                     .hidden_size = 4096,
                                     .intermediate_size = 11008,
                                     .num_layers = 32,
                                     .num_heads = 32,
                                     .heads = DecoderHeads::question_answering,
                                     .adjust = [](DecoderConfig& c, const ModelConfig& config) {
                                       read_attention_bias(c, config);
                                       c.mlp_bias = config.get_bool("mlp_bias", false);
                                     }};

constexpr DecoderFamily kMistralFamily{
    .prefix = "Mistral",
    .vocab_size = 32000,
    .hidden_size = 4096,
    .intermediate_size = 14336,
    .num_layers = 32,
    .num_heads = 32,
    .num_kv_heads = 8,
    .heads = DecoderHeads::question_answering,
    .question_answering_attribute = "model",
    .adjust = [](DecoderConfig& c, const ModelConfig& config) { read_sliding_window(c, config, 4096); }};

constexpr DecoderFamily kQwen2Family{.prefix = "Qwen2",
                                     .vocab_size = 151936,
                                     .hidden_size = 4096,
                                     .intermediate_size = 22016,
                                     .num_layers = 32,
                                     .num_heads = 32,
                                     .num_kv_heads = 32,
                                     .heads = DecoderHeads::question_answering,
                                     .adjust = [](DecoderConfig& c, const ModelConfig& config) {
                                       c.qkv_bias = true;
                                       read_windowed_tail(c, config);
                                     }};

}  // namespace

constexpr Architecture kLlama{"llama", DecoderClasses<kLlamaFamily>::kClasses};
constexpr Architecture kMistral{"mistral", DecoderClasses<kMistralFamily>::kClasses};
constexpr Architecture kQwen2{"qwen2", DecoderClasses<kQwen2Family>::kClasses};

}  // namespace hfload
