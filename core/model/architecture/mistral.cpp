#include "core/model/architecture/decoder.h"
#include "core/model/architecture/registry.h"

/// Mistral, Ministral and Ministral 3: the skeleton of decoder.h with sliding windows. Ministral 3 came with
/// transformers 5.
namespace hfload {
namespace {

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

constexpr DecoderFamily kMinistralFamily{.prefix = "Ministral",
                                         .vocab_size = 32000,
                                         .hidden_size = 4096,
                                         .intermediate_size = 14336,
                                         .num_layers = 32,
                                         .num_heads = 32,
                                         .num_kv_heads = 8,
                                         .heads = DecoderHeads::question_answering,
                                         .adjust = [](DecoderConfig& c, const ModelConfig& config) {
                                           read_sliding_window(c, config, 4096);
                                           read_layer_types(c, config, [](uint64_t) { return true; });
                                         }};

constexpr DecoderFamily kMinistral3Family{
    .prefix = "Ministral3",
    .vocab_size = 131072,
    .hidden_size = 4096,
    .intermediate_size = 14336,
    .num_layers = 34,
    .num_heads = 32,
    .num_kv_heads = 8,
    .head_dim = 128,
    .heads = DecoderHeads::question_answering,
    .question_answering_attribute = "model",
    .adjust = [](DecoderConfig& c, const ModelConfig& config) { read_sliding_window(c, config, 0); }};

}  // namespace

constexpr Architecture kMinistral{"ministral", DecoderClasses<kMinistralFamily>::kClasses};
constexpr Architecture kMinistral3{"ministral3", DecoderClasses<kMinistral3Family>::kClasses};
constexpr Architecture kMistral{"mistral", DecoderClasses<kMistralFamily>::kClasses};

}  // namespace hfload
