#include "core/model/architecture/decoder.h"
#include "core/model/architecture/registry.h"

/// Qwen2 and Qwen3: the skeleton of decoder.h, Qwen2 with biases of queries, keys and values, Qwen3 with
/// norms of queries and keys in their place.
namespace hfload {
namespace {

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

constexpr DecoderFamily kQwen3Family{.prefix = "Qwen3",
                                     .vocab_size = 151936,
                                     .hidden_size = 4096,
                                     .intermediate_size = 22016,
                                     .num_layers = 32,
                                     .num_heads = 32,
                                     .num_kv_heads = 32,
                                     .head_dim = 128,
                                     .heads = DecoderHeads::question_answering,
                                     .qk_norm = QkNorm::per_head,
                                     .adjust = [](DecoderConfig& c, const ModelConfig& config) {
                                       read_attention_bias(c, config);
                                       read_windowed_tail(c, config);
                                     }};

}  // namespace

constexpr Architecture kQwen2{"qwen2", DecoderClasses<kQwen2Family>::kClasses};
constexpr Architecture kQwen3{"qwen3", DecoderClasses<kQwen3Family>::kClasses};

}  // namespace hfload
