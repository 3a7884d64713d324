#include "core/model/architecture/bart_layers.h"

#include <fmt/core.h>

#include "core/base/error.h"

namespace hfload::bart {
namespace {

/// `add_cache(head_dim)` declares what the attention caches.
template <std::invocable<uint64_t> AddCache>
void attention(ModuleBuilder& b, std::string_view name, const LayerShape& s, AddCache&& add_cache) {
  check_heads(s);
  b.module(name, fmt::format("{}{}", s.prefix, s.attention), [&] {
    b.linear("k_proj", s.hidden_size, s.hidden_size, s.key_bias);
    b.linear("v_proj", s.hidden_size, s.hidden_size, true);
    b.linear("q_proj", s.hidden_size, s.hidden_size, true);
    b.linear("out_proj", s.hidden_size, s.hidden_size, true);
    add_cache(s.hidden_size / s.num_heads);
  });
}

}  // namespace

void check_heads(const LayerShape& s) {
  if (s.num_heads == 0 || s.hidden_size % s.num_heads != 0) {
    throw Error(ErrorCode::invalid_config,
                fmt::format("d_model {} is no multiple of {} attention heads", s.hidden_size, s.num_heads));
  }
}

void feed_forward(ModuleBuilder& b, const LayerShape& s) {
  b.linear("fc1", s.hidden_size, s.ffn_dim, true);
  b.linear("fc2", s.ffn_dim, s.hidden_size, true);
  b.layer_norm("final_layer_norm", s.hidden_size);
}

void encoder_layer(ModuleBuilder& b, uint64_t i, const LayerShape& s) {
  b.module(index_name(i), fmt::format("{}EncoderLayer", s.prefix), [&] {
    attention(b, "self_attn", s, [](uint64_t) {});
    b.layer_norm("self_attn_layer_norm", s.hidden_size);
    b.activation("activation_fn", s.activation);
    feed_forward(b, s);
  });
}

void decoder_layer(ModuleBuilder& b, uint64_t i, const LayerShape& s, std::optional<uint64_t> source_tokens) {
  b.module(index_name(i), fmt::format("{}DecoderLayer", s.prefix), [&] {
    attention(b, "self_attn", s, [&](uint64_t head_dim) { b.attention_cache(s.num_heads, head_dim); });
    b.activation("activation_fn", s.activation);
    b.layer_norm("self_attn_layer_norm", s.hidden_size);
    attention(b, "encoder_attn", s, [&](uint64_t head_dim) {
      if (source_tokens) b.cross_attention_cache(s.num_heads, head_dim, *source_tokens);
    });
    b.layer_norm("encoder_attn_layer_norm", s.hidden_size);
    feed_forward(b, s);
  });
}

}  // namespace hfload::bart
