#include <fmt/format.h>

#include <string>
#include <string_view>

#include "core/base/error.h"
#include "core/model/architecture/registry.h"

/// T5, as transformers 4.57 models/t5/modeling_t5.py builds it.
namespace hfload {
namespace {

struct T5Config {
  uint64_t vocab_size, d_model, d_kv, d_ff, num_heads, num_layers, num_decoder_layers,
      relative_attention_num_buckets;
  bool gated, tie_word_embeddings;
  std::string activation;
};

T5Config read_config(const ModelConfig& config) {
  T5Config c{};
  c.vocab_size = config.get_uint("vocab_size", 32128);
  c.d_model = config.get_uint("d_model", 512);
  c.d_kv = config.get_uint("d_kv", 64);
  c.d_ff = config.get_uint("d_ff", 2048);
  c.num_heads = config.get_uint("num_heads", 8);
  c.num_layers = config.get_count("num_layers", 6);
  c.num_decoder_layers = config.get_count("num_decoder_layers", c.num_layers);
  c.relative_attention_num_buckets = config.get_uint("relative_attention_num_buckets", 32);
  c.tie_word_embeddings = config.get_bool("tie_word_embeddings", true);

  const std::string projection = config.get_string("feed_forward_proj", "relu");
  const size_t dash = projection.find('-');
  c.gated = dash != std::string::npos && projection.substr(0, dash) == "gated";
  c.activation = dash == std::string::npos ? projection : projection.substr(dash + 1);
  if ((dash != std::string::npos && !c.gated) || c.activation.find('-') != std::string::npos) {
    throw Error(
        ErrorCode::invalid_config,
        fmt::format("feed_forward_proj is '{}'; it must be an activation or 'gated-' and one", projection));
  }
  if (projection == "gated-gelu") c.activation = "gelu_new";
  return c;
}

enum class Attention : uint8_t { encoder, decoder, cross };

void attention(ModuleBuilder& b, const T5Config& c, Attention kind, bool has_relative_attention_bias) {
  const uint64_t inner_dim = c.num_heads * c.d_kv;
  b.module(kind == Attention::cross ? "EncDecAttention" : "SelfAttention", "T5Attention", [&] {
    b.linear("q", c.d_model, inner_dim, false);
    b.linear("k", c.d_model, inner_dim, false);
    b.linear("v", c.d_model, inner_dim, false);
    b.linear("o", inner_dim, c.d_model, false);
    if (has_relative_attention_bias) {
      b.embedding("relative_attention_bias", c.relative_attention_num_buckets, c.num_heads);
    }
    if (kind == Attention::decoder) b.attention_cache(c.num_heads, c.d_kv);
    if (kind == Attention::cross) b.cross_attention_cache(c.num_heads, c.d_kv);
  });
}

void feed_forward(ModuleBuilder& b, const T5Config& c) {
  b.module("DenseReluDense", c.gated ? "T5DenseGatedActDense" : "T5DenseActDense", [&] {
    if (c.gated) {
      b.linear("wi_0", c.d_model, c.d_ff, false);
      b.linear("wi_1", c.d_model, c.d_ff, false);
    } else {
      b.linear("wi", c.d_model, c.d_ff, false);
    }
    b.linear("wo", c.d_ff, c.d_model, false);
    b.dropout("dropout");
    b.activation("act", c.activation);
  });
}

void block(ModuleBuilder& b, const T5Config& c, uint64_t i, bool is_decoder) {
  b.module(index_name(i), "T5Block", [&] {
    b.module("layer", "ModuleList", [&] {
      uint64_t sublayer = 0;
      const auto add_sublayer = [&](std::string_view class_name, auto&& body) {
        b.module(index_name(sublayer++), class_name, [&] {
          body();
          b.rms_norm("layer_norm", "T5LayerNorm", c.d_model);
          b.dropout("dropout");
        });
      };
      add_sublayer("T5LayerSelfAttention",
                   [&] { attention(b, c, is_decoder ? Attention::decoder : Attention::encoder, i == 0); });
      if (is_decoder)
        add_sublayer("T5LayerCrossAttention", [&] { attention(b, c, Attention::cross, false); });
      add_sublayer("T5LayerFF", [&] { feed_forward(b, c); });
    });
  });
}

void stack(ModuleBuilder& b, const T5Config& c, std::string_view name, ModuleId shared, bool is_decoder) {
  b.module(name, "T5Stack", [&] {
    if (b.is_v5()) {
      b.embedding("embed_tokens", c.vocab_size, c.d_model);
    } else {
      b.share("embed_tokens", shared);
    }
    b.list("block", is_decoder ? c.num_decoder_layers : c.num_layers,
           [&](uint64_t i) { block(b, c, i, is_decoder); });
    b.rms_norm("final_layer_norm", "T5LayerNorm", c.d_model);
    b.dropout("dropout");
  });
}

void conditional_generation(ModuleBuilder& b, const ModelConfig& config) {
  const T5Config c = read_config(config);
  const ModuleId shared = b.embedding("shared", c.vocab_size, c.d_model);
  stack(b, c, "encoder", shared, false);
  stack(b, c, "decoder", shared, true);
  b.linear("lm_head", c.d_model, c.vocab_size, false);
  // T5Config of transformers 5 sets tie_word_embeddings, whatever config.json says; that a checkpoint has a
  // head of its own is found while it loads.
  if (b.is_v5()) {
    b.tie("encoder.embed_tokens.weight", "shared.weight");
    b.tie("decoder.embed_tokens.weight", "shared.weight");
  }
  if (c.tie_word_embeddings || b.is_v5()) b.tie("lm_head.weight", "shared.weight");
}

void encoder_model(ModuleBuilder& b, const ModelConfig& config) {
  const T5Config c = read_config(config);
  stack(b, c, "encoder", b.embedding("shared", c.vocab_size, c.d_model), false);
  if (b.is_v5()) b.tie("encoder.embed_tokens.weight", "shared.weight");
}

constexpr ModelClass kClasses[] = {
    {.name = "T5ForConditionalGeneration",
     .base_model_prefix = "transformer",
     .declare = conditional_generation,
     .no_split_modules = {"T5Block"},
     .keep_in_fp32 = {"wo"},
     .ignore_unexpected = {"decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"}},
    {.name = "T5EncoderModel",
     .base_model_prefix = "transformer",
     .declare = encoder_model,
     .no_split_modules = {"T5Block"},
     .keep_in_fp32 = {"wo"},
     .ignore_unexpected = {"decoder"}},
};

}  // namespace

constexpr Architecture kT5{"t5", kClasses};

}  // namespace hfload
