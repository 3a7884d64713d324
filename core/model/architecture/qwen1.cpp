#include "core/base/error.h"
#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// The first Qwen, whose classes come with its checkpoints and not with transformers.
namespace hfload {
namespace {

constexpr uint64_t kVocabSize = 151936, kHiddenSize = 4096;

struct QwenConfig {
  uint64_t hidden_size, num_heads, kv_channels, intermediate_size, seq_length;
  bool bias;
};

QwenConfig read_config(const ModelConfig& config) {
  const QwenConfig c{.hidden_size = config.get_uint("hidden_size", kHiddenSize),
                     .num_heads = config.get_uint("num_attention_heads", 32),
                     .kv_channels = config.get_uint("kv_channels", 128),
                     .intermediate_size = config.get_uint("intermediate_size", 22016),
                     .seq_length = config.get_uint("seq_length", 8192),
                     .bias = !config.get_bool("no_bias", true)};
  if (c.num_heads == 0) throw Error(ErrorCode::invalid_config, "num_attention_heads is 0");
  if (c.num_heads > 1'000'000 || c.kv_channels > 1'000'000)
    throw Error(ErrorCode::invalid_config, "num_attention_heads or kv_channels is over a million");
  return c;
}

void attention(ModuleBuilder& b, const QwenConfig& c) {
  const uint64_t projection_size = c.num_heads * c.kv_channels;
  b.buffer("masked_bias", {}, b.default_dtype(), false);
  // A factor for each position up to 32,767: the integer 1, until a position is past seq_length.
  constexpr uint64_t kPositions = 32767;
  b.buffer("logn_tensor", {1, kPositions, 1, 1}, c.seq_length < kPositions ? b.default_dtype() : Dtype::i64,
           false);
  b.linear("c_attn", c.hidden_size, 3 * projection_size, true);
  b.linear("c_proj", c.hidden_size, projection_size, c.bias);
  b.dropout("attn_dropout");
  b.attention_cache(c.num_heads, c.hidden_size / c.num_heads);
}

void transformer(ModuleBuilder& b, const ModelConfig& config) {
  const QwenConfig c = read_config(config);
  b.embedding("wte", config.get_uint("vocab_size", kVocabSize), c.hidden_size);
  b.dropout("drop");
  b.module("rotary_emb", "RotaryEmbedding", [&] {
    const double rotary_pct = config.get_double("rotary_pct", 1.0);
    if (!(rotary_pct >= 0 && rotary_pct <= 1))
      throw Error(ErrorCode::invalid_config, "rotary_pct is not between 0 and 1");
    const auto dim = static_cast<uint64_t>(static_cast<double>(c.kv_channels) * rotary_pct);
    b.buffer("inv_freq", {(dim + 1) / 2}, Dtype::f32, false);
  });
  // The config counts both halves of the gated MLP.
  const uint64_t ff_dim = c.intermediate_size / 2;
  b.list("h", config.get_count("num_hidden_layers", 32), [&](uint64_t i) {
    b.module(index_name(i), "QWenBlock", [&] {
      b.rms_norm("ln_1", "RMSNorm", c.hidden_size);
      b.module("attn", "QWenAttention", [&] { attention(b, c); });
      b.rms_norm("ln_2", "RMSNorm", c.hidden_size);
      b.module("mlp", "QWenMLP", [&] {
        b.linear("w1", c.hidden_size, ff_dim, c.bias);
        b.linear("w2", c.hidden_size, ff_dim, c.bias);
        b.linear("c_proj", ff_dim, c.hidden_size, c.bias);
      });
    });
  });
  b.rms_norm("ln_f", "RMSNorm", c.hidden_size);
}

constexpr BaseModel kBase{.class_name = "QWenModel",
                          .declare = transformer,
                          .vocab_size = kVocabSize,
                          .hidden_size = kHiddenSize,
                          .attribute = "transformer",
                          .embedding = "wte"};

constexpr ModelClass kClasses[] = {
    {.name = "QWenLMHeadModel",
     .base_model_prefix = "transformer",
     .declare = causal_lm<kBase>,
     .no_split_modules = {"QWenBlock"},
     .ignore_missing = {R"(h\.\d+\.attn\.rotary_emb\.inv_freq)"},
     .ignore_unexpected = {R"(h\.\d+\.attn\.masked_bias)"}},
    {.name = "QWenModel",
     .base_model_prefix = "transformer",
     .declare = base_model<kBase>,
     .no_split_modules = {"QWenBlock"},
     .ignore_missing = {"attn.masked_bias"}},
};

}  // namespace

constexpr Architecture kQwen{"qwen", kClasses};

}  // namespace hfload
