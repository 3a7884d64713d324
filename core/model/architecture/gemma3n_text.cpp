#include <fmt/core.h>

#include <algorithm>
#include <vector>

#include "core/base/error.h"
#include "core/model/architecture/gemma3n.h"
#include "core/model/architecture/registry.h"

/// The text model of Gemma 3n, as models/gemma3n of transformers 4.57 and 5 builds it.
namespace hfload {
namespace {

/// Far above any model's layers: each that shares adds names to ignore in a checkpoint.
constexpr uint64_t kMostSharedLayers = 1000;

void adjust(DecoderConfig& c, const ModelConfig& config) {
  read_attention_bias(c, config);
  c.hidden_act = config.get_string("hidden_activation", "gelu_pytorch_tanh");
  read_sliding_window(c, config, 512);
  read_layer_types(c, config, [](uint64_t i) { return (i + 1) % 5 != 0; });
}

constexpr DecoderFamily kFamily{.prefix = "Gemma3n",
                                .vocab_size = kGemma3nVocabSize,
                                .hidden_size = kGemma3nHiddenSize,
                                .intermediate_size = 16384,
                                .num_layers = 35,
                                .num_heads = 8,
                                .num_kv_heads = 2,
                                .head_dim = 256,
                                .intermediate_size_by_layer = true,
                                .tie_word_embeddings = true,
                                .layer_norms = {"input_layernorm", "post_attention_layernorm",
                                                "pre_feedforward_layernorm", "post_feedforward_layernorm"},
                                .adjust = adjust};

/// `intermediate_size` is one number or a list with one for each layer.
std::vector<uint64_t> intermediate_sizes(const DecoderConfig& c, const ModelConfig& config) {
  const ConfigValue* found = config.find("intermediate_size");
  if (found == nullptr || !std::holds_alternative<ConfigValue::Array>(found->value)) {
    const uint64_t size = config.get_uint("intermediate_size", kFamily.intermediate_size);
    return std::vector<uint64_t>(c.num_layers, size);
  }
  std::vector<uint64_t> sizes = *config.get_uints("intermediate_size");
  if (sizes.size() != c.num_layers) {
    throw Error(ErrorCode::invalid_config,
                fmt::format("intermediate_size has {} numbers for {} layers", sizes.size(), c.num_layers));
  }
  return sizes;
}

/// The first of the layers that compute no keys and values but take those of an earlier layer;
/// `num_layers` where none does.
uint64_t first_shared_layer(const DecoderConfig& c, const ModelConfig& config) {
  const uint64_t shared = config.get_count("num_kv_shared_layers", 15);
  if (shared >= c.num_layers) return c.num_layers;
  if (shared > kMostSharedLayers) {
    throw Error(
        ErrorCode::invalid_config,
        fmt::format("num_kv_shared_layers is {}; no more than {} are supported", shared, kMostSharedLayers));
  }
  return c.num_layers - shared;
}

void attention(ModuleBuilder& b, const DecoderConfig& c, uint64_t i, bool is_shared) {
  const uint64_t kv_size = product(c.num_kv_heads, c.head_dim);
  b.module("self_attn", c.class_name("TextAttention"), [&] {
    if (!is_shared) b.attention_cache(c.num_kv_heads, c.head_dim, c.window_of(i));
    if (!b.is_v5()) {
      attention_projections(b, c);
      decoder_norm(b, c, "q_norm", c.head_dim);
      decoder_norm(b, c, "k_norm", c.head_dim);
      gemma3n_unscaled_norm(b, "v_norm");
      return;
    }
    b.linear("q_proj", c.hidden_size, product(c.num_heads, c.head_dim), c.qkv_bias);
    decoder_norm(b, c, "q_norm", c.head_dim);
    if (is_shared) {
      for (const char* name : {"k_proj", "v_proj", "k_norm", "v_norm"})
        b.ignore_unexpected(fmt::format("layers.{}.self_attn.{}", i, name));
    } else {
      b.linear("k_proj", c.hidden_size, kv_size, c.qkv_bias);
      b.linear("v_proj", c.hidden_size, kv_size, c.qkv_bias);
      decoder_norm(b, c, "k_norm", c.head_dim);
      gemma3n_unscaled_norm(b, "v_norm");
    }
    b.linear("o_proj", product(c.num_heads, c.head_dim), c.hidden_size, c.output_bias);
  });
}

/// A buffer of one number, which torch.tensor makes in the dtype that the model is built in.
void number(ModuleBuilder& b, std::string_view name) { b.buffer(name, {}, b.default_dtype(), false); }

/// Alternating updates of several copies of the hidden state.
void altup(ModuleBuilder& b, const DecoderConfig& c, uint64_t num_inputs) {
  b.module("altup", c.class_name("TextAltUp"), [&] {
    b.parameter("correct_output_scale", {c.hidden_size});
    number(b, "router_input_scale");
    b.linear("correction_coefs", num_inputs, num_inputs, false);
    b.linear("prediction_coefs", num_inputs, product(num_inputs, num_inputs), false);
    b.linear("modality_router", c.hidden_size, num_inputs, false);
    decoder_norm(b, c, "router_norm", c.hidden_size);
  });
}

void layer_tail(ModuleBuilder& b, const DecoderConfig& c, const ModelConfig& config, uint64_t num_inputs,
                uint64_t per_layer_size) {
  const uint64_t rank = config.get_uint("laurel_rank", 64);
  b.activation("act_fn", c.hidden_act);
  altup(b, c, num_inputs);
  b.module("laurel", c.class_name("TextLaurelBlock"), [&] {
    b.linear("linear_left", c.hidden_size, rank, false);
    b.linear("linear_right", rank, c.hidden_size, false);
    decoder_norm(b, c, "post_laurel_norm", c.hidden_size);
  });
  b.linear("per_layer_input_gate", c.hidden_size, per_layer_size, false);
  b.linear("per_layer_projection", per_layer_size, c.hidden_size, false);
  decoder_norm(b, c, "post_per_layer_input_norm", c.hidden_size);
}

void scaled_embedding(ModuleBuilder& b, const DecoderConfig& c, std::string_view name, uint64_t vocab_size,
                      uint64_t features) {
  b.module(name, c.class_name("TextScaledWordEmbedding"), [&] {
    b.parameter("weight", {vocab_size, features});
    number(b, "embed_scale");
  });
}

void rotary_embeddings(ModuleBuilder& b, const DecoderConfig& c) {
  if (b.is_v5()) return rotary_embedding_by_layer_type(b, c);
  const std::string class_name = c.class_name("TextRotaryEmbedding");
  b.rotary_embedding("rotary_emb", class_name, c.rotary_frequencies);
  b.rotary_embedding("rotary_emb_local", class_name, c.rotary_frequencies);
}

constexpr BaseModel kTextModel{.class_name = "Gemma3nTextModel",
                               .declare = gemma3n_text_model,
                               .vocab_size = kGemma3nVocabSize,
                               .hidden_size = kGemma3nHiddenSize,
                               .tie_word_embeddings = true};
constexpr NameList kNoSplit = {"Gemma3nTextDecoderLayer"};
/// How transformers 4.57 takes the text model out of a checkpoint for all kinds of input.
constexpr KeyRename kRenames[] = {{"model.language_model", "model"}};

constexpr ModelClass kClasses[] = {
    {.name = "Gemma3nForCausalLM",
     .base_model_prefix = "model",
     .declare = causal_lm<kTextModel>,
     .no_split_modules = kNoSplit,
     .key_renames = kRenames},
    {.name = kTextModel.class_name,
     .base_model_prefix = "",
     .declare = gemma3n_text_model,
     .no_split_modules = kNoSplit,
     .v5_base_model_prefix = "model"},
};

}  // namespace

void gemma3n_unscaled_norm(ModuleBuilder& b, std::string_view name) {
  b.module(name, "Gemma3nRMSNorm", [&] {
    if (!b.is_v5()) number(b, "weight");
  });
}

void gemma3n_text_model(ModuleBuilder& b, const ModelConfig& text_config) {
  const ModelConfig& config = text_config;
  const DecoderConfig c = read_decoder_config(b, config, kFamily);
  const std::vector<uint64_t> sizes = intermediate_sizes(c, config);
  const uint64_t first_shared = first_shared_layer(c, config);
  const uint64_t num_inputs = config.get_count("altup_num_inputs", 4);
  const uint64_t per_layer_size = config.get_uint("hidden_size_per_layer_input", 256);
  const uint64_t all_layers_size = product(c.num_layers, per_layer_size);
  number(b, "per_layer_projection_scale");
  number(b, "per_layer_input_scale");
  scaled_embedding(b, c, "embed_tokens", c.vocab_size, c.hidden_size);
  b.list("layers", c.num_layers, [&](uint64_t i) {
    b.module(index_name(i), c.class_name("TextDecoderLayer"), [&] {
      attention(b, c, i, i >= first_shared);
      gated_mlp(b, "mlp", c.class_name("TextMLP"), c.hidden_size, sizes[i], false, c.hidden_act);
      decoder_layer_norms(b, c);
      layer_tail(b, c, config, num_inputs, per_layer_size);
    });
  });
  decoder_norm(b, c, "norm", c.hidden_size);
  rotary_embeddings(b, c);
  scaled_embedding(b, c, "embed_tokens_per_layer", config.get_uint("vocab_size_per_layer_input", 262144),
                   all_layers_size);
  b.linear("per_layer_model_projection", c.hidden_size, all_layers_size, false);
  decoder_norm(b, c, "per_layer_projection_norm", per_layer_size);
  for (const char* name : {"altup_projections", "altup_unembed_projections"}) {
    b.list(name, std::max<uint64_t>(num_inputs, 1) - 1,
           [&](uint64_t i) { b.linear(index_name(i), c.hidden_size, c.hidden_size, false); });
  }
}

constexpr Architecture kGemma3nText{"gemma3n_text", kClasses};

}  // namespace hfload
