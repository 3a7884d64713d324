#include "core/model/architecture/decoder.h"
#include "core/model/architecture/registry.h"

/// Cohere (Command-R) and Cohere 2 (Command-R7B): attention and MLP side by side behind one norm.
namespace hfload {
namespace {

constexpr DecoderFamily kCohereFamily{.prefix = "Cohere",
                                      .vocab_size = 256000,
                                      .hidden_size = 8192,
                                      .intermediate_size = 22528,
                                      .num_layers = 40,
                                      .num_heads = 64,
                                      .tie_word_embeddings = true,
                                      .norm = NormKind::weight_only,
                                      .layer_norms = {"input_layernorm"},
                                      .adjust = [](DecoderConfig& c, const ModelConfig& config) {
                                        read_attention_bias(c, config);
                                        if (config.get_bool("use_qk_norm", false))
                                          c.qk_norm = QkNorm::weight_per_head;
                                      }};

constexpr DecoderFamily kCohere2Family{.prefix = "Cohere2",
                                       .vocab_size = 256000,
                                       .hidden_size = 8192,
                                       .intermediate_size = 22528,
                                       .num_layers = 40,
                                       .num_heads = 64,
                                       .tie_word_embeddings = true,
                                       .norm = NormKind::weight_only,
                                       .layer_norms = {"input_layernorm"},
                                       .adjust = [](DecoderConfig& c, const ModelConfig& config) {
                                         read_attention_bias(c, config);
                                         read_sliding_window(c, config, 4096);
                                         read_window_pattern(c, config);
                                       }};

}  // namespace

constexpr Architecture kCohere{"cohere", DecoderClasses<kCohereFamily>::kClasses};
constexpr Architecture kCohere2{"cohere2", DecoderClasses<kCohere2Family>::kClasses};

}  // namespace hfload
