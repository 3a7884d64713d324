#include <fmt/core.h>

#include <string>

#include "core/base/error.h"
#include "core/model/architecture/registry.h"
#include "core/model/architecture/sub_model.h"

/// BLIP-2, as models/blip_2 of transformers 4.57 and 5 builds it: a vision model, the Q-Former that queries
/// it, and a language model that the config names.
namespace hfload {
namespace {

void check_heads(std::string_view part, uint64_t hidden_size, uint64_t num_heads) {
  if (num_heads != 0 && hidden_size % num_heads == 0) return;
  throw Error(ErrorCode::invalid_config,
              fmt::format("{}: hidden_size {} is no multiple of {} heads", part, hidden_size, num_heads));
}

uint64_t vision_hidden_size(const ModelConfig& vision) { return vision.get_uint("hidden_size", 1408); }

uint64_t num_positions(const ModelConfig& vision) {
  const uint64_t patch_size = vision.get_uint("patch_size", 14);
  const uint64_t side = patch_size == 0 ? 0 : vision.get_uint("image_size", 224) / patch_size;
  if (patch_size == 0 || side > 1'000'000)
    throw Error(ErrorCode::invalid_config, "vision_config: image_size is no sensible number of patches");
  return product(side, side) + 1;
}

void vision_model(ModuleBuilder& b, const ModelConfig& vision) {
  const uint64_t hidden = vision_hidden_size(vision);
  const uint64_t intermediate = vision.get_uint("intermediate_size", 6144);
  const uint64_t patch_size = vision.get_uint("patch_size", 14);
  const std::string act = vision.get_string("hidden_act", "gelu");
  const bool qkv_bias = vision.get_bool("qkv_bias", true);
  check_heads("vision_config", hidden, vision.get_uint("num_attention_heads", 16));
  b.module("embeddings", "Blip2VisionEmbeddings", [&] {
    b.parameter("class_embedding", {1, 1, hidden});
    b.parameter("position_embedding", {1, num_positions(vision), hidden});
    b.conv2d("patch_embedding", 3, hidden, patch_size, patch_size, true);
  });
  b.module("encoder", "Blip2Encoder", [&] {
    b.list("layers", vision.get_count("num_hidden_layers", 39), [&](uint64_t i) {
      b.module(index_name(i), "Blip2EncoderLayer", [&] {
        b.module("self_attn", "Blip2Attention", [&] {
          b.linear("qkv", hidden, 3 * hidden, qkv_bias);
          b.linear("projection", hidden, hidden, true);
        });
        b.layer_norm("layer_norm1", hidden);
        b.module("mlp", "Blip2MLP", [&] {
          b.activation("activation_fn", act);
          b.linear("fc1", hidden, intermediate, true);
          b.linear("fc2", intermediate, hidden, true);
        });
        b.layer_norm("layer_norm2", hidden);
      });
    });
  });
  b.layer_norm("post_layernorm", hidden);
}

struct QFormerConfig {
  uint64_t hidden_size, num_heads, intermediate_size, num_layers, cross_attention_frequency,
      vision_hidden_size, num_distances;
  bool has_text_input;
  std::string hidden_act;
};

QFormerConfig read_qformer(const ModelConfig& config) {
  const ModelConfig qformer = config.nested("qformer_config");
  QFormerConfig c{.hidden_size = qformer.get_uint("hidden_size", 768),
                  .num_heads = qformer.get_uint("num_attention_heads", 12),
                  .intermediate_size = qformer.get_uint("intermediate_size", 3072),
                  .num_layers = qformer.get_count("num_hidden_layers", 12),
                  .cross_attention_frequency = qformer.get_uint("cross_attention_frequency", 2),
                  .vision_hidden_size = vision_hidden_size(config.nested("vision_config")),
                  .num_distances = 0,
                  .has_text_input = qformer.get_bool("use_qformer_text_input", false),
                  .hidden_act = qformer.get_string("hidden_act", "gelu")};
  check_heads("qformer_config", c.hidden_size, c.num_heads);
  if (c.cross_attention_frequency == 0)
    throw Error(ErrorCode::invalid_config, "qformer_config: cross_attention_frequency is 0");
  const uint64_t positions = qformer.get_uint("max_position_embeddings", 512);
  if (qformer.get_string("position_embedding_type", "absolute").starts_with("relative_key") && positions != 0)
    c.num_distances = 2 * positions - 1;
  return c;
}

/// A linear layer, its norm and dropout: the end of attention and of the feed-forward network.
void output(ModuleBuilder& b, std::string_view name, std::string_view class_name, uint64_t in_features,
            uint64_t features) {
  b.module(name, class_name, [&] {
    b.linear("dense", in_features, features, true);
    b.layer_norm("LayerNorm", features);
    b.dropout("dropout");
  });
}

void attention(ModuleBuilder& b, const QFormerConfig& c, std::string_view name, uint64_t source_size) {
  b.module(name, "Blip2QFormerAttention", [&] {
    b.module("attention", "Blip2QFormerMultiHeadAttention", [&] {
      b.linear("query", c.hidden_size, c.hidden_size, true);
      b.linear("key", source_size, c.hidden_size, true);
      b.linear("value", source_size, c.hidden_size, true);
      if (b.is_v5()) return;
      b.dropout("dropout");
      if (c.num_distances != 0)
        b.embedding("distance_embedding", c.num_distances, c.hidden_size / c.num_heads);
    });
    output(b, "output", "Blip2QFormerSelfOutput", c.hidden_size, c.hidden_size);
  });
}

void feed_forward(ModuleBuilder& b, const QFormerConfig& c, std::string_view suffix) {
  b.module(fmt::format("intermediate{}", suffix), "Blip2QFormerIntermediate", [&] {
    b.linear("dense", c.hidden_size, c.intermediate_size, true);
    b.activation("intermediate_act_fn", c.hidden_act);
  });
  output(b, fmt::format("output{}", suffix), "Blip2QFormerOutput", c.intermediate_size, c.hidden_size);
}

void qformer_model(ModuleBuilder& b, const QFormerConfig& c) {
  b.layer_norm("layernorm", c.hidden_size);
  b.dropout("dropout");
  b.module("encoder", "Blip2QFormerEncoder", [&] {
    b.list("layer", c.num_layers, [&](uint64_t i) {
      b.module(index_name(i), "Blip2QFormerLayer", [&] {
        attention(b, c, "attention", c.hidden_size);
        if (i % c.cross_attention_frequency == 0) attention(b, c, "crossattention", c.vision_hidden_size);
        if (c.has_text_input) feed_forward(b, c, "");
        feed_forward(b, c, "_query");
      });
    });
  });
}

uint64_t text_hidden_size(const ModelConfig& text) {
  return text.get_uint({"d_model", "hidden_size"}, text.get_string("model_type", "opt") == "t5" ? 512 : 768);
}

void blip_2(ModuleBuilder& b, const ModelConfig& config) {
  const QFormerConfig qformer = read_qformer(config);
  const ModelConfig text = config.nested("text_config"), vision = config.nested("vision_config");
  b.parameter("query_tokens", {1, config.get_uint("num_query_tokens", 32), qformer.hidden_size});
  b.module("vision_model", "Blip2VisionModel", [&] { b.part(vision, [&] { vision_model(b, vision); }); });
  b.module("qformer", "Blip2QFormerModel",
           [&] { b.part(config.nested("qformer_config"), [&] { qformer_model(b, qformer); }); });
  b.linear("language_projection", qformer.hidden_size, text_hidden_size(text), true);
  auto_language_model(b, "language_model", text, "opt");
}

constexpr ModelClass model_class(std::string_view name) {
  return {.name = name,
          .base_model_prefix = "blip",
          .declare = blip_2,
          .no_split_modules = {"Blip2Attention", "Blip2EncoderLayer", "Blip2QFormerMultiHeadAttention",
                               "Blip2TextEmbeddings", "OPTDecoderLayer", "T5Block"},
          .keep_in_fp32 = {"query_tokens", "qformer"},
          .v5_no_split_modules = {{"Blip2Attention", "Blip2EncoderLayer", "Blip2QFormerMultiHeadAttention",
                                   "Blip2TextEmbeddings", "Blip2VisionEmbeddings"}},
          // "wo" is T5's; transformers 5 takes over the list of the language model.
          .v5_keep_in_fp32 = {{"query_tokens", "qformer", "wo"}}};
}

constexpr ModelClass kClasses[] = {model_class("Blip2ForConditionalGeneration"), model_class("Blip2Model")};

}  // namespace

constexpr Architecture kBlip2{"blip-2", kClasses};

}  // namespace hfload
