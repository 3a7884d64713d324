#include "core/model/architecture/decoder.h"
#include "core/model/architecture/registry.h"

/// EXAONE 4: norms after attention and MLP, and of the heads of queries and keys.
namespace hfload {
namespace {

constexpr DecoderFamily kFamily{.prefix = "Exaone4",
                                .vocab_size = 102400,
                                .hidden_size = 4096,
                                .intermediate_size = 16384,
                                .num_layers = 32,
                                .num_heads = 32,
                                .num_kv_heads = 32,
                                .heads = DecoderHeads::question_answering,
                                .layer_norms = {"post_attention_layernorm", "post_feedforward_layernorm"},
                                .qk_norm = QkNorm::per_head,
                                .adjust = [](DecoderConfig& c, const ModelConfig& config) {
                                  read_sliding_window(c, config, 4096);
                                  if (c.sliding_window != 0) read_window_pattern(c, config);
                                }};

}  // namespace

constexpr Architecture kExaone4{"exaone4", DecoderClasses<kFamily>::kClasses};

}  // namespace hfload
