#include <string>

#include "core/base/error.h"
#include "core/model/architecture/moe.h"
#include "core/model/architecture/registry.h"

/// Qwen3-VL and Qwen3-VL-MoE, as models/qwen3_vl and models/qwen3_vl_moe of transformers 4.57 and 5 build
/// them.
namespace hfload {
namespace {

constexpr DecoderFamily kTextFamily{.prefix = "Qwen3VLText",
                                    .vocab_size = 151936,
                                    .hidden_size = 4096,
                                    .intermediate_size = 22016,
                                    .num_layers = 32,
                                    .num_heads = 32,
                                    .num_kv_heads = 32,
                                    .head_dim = 128,
                                    .qk_norm = QkNorm::per_head,
                                    .adjust = read_attention_bias};
constexpr DecoderFamily kMoeTextFamily{.prefix = "Qwen3VLMoeText",
                                       .vocab_size = 151936,
                                       .hidden_size = 2048,
                                       .intermediate_size = 5632,
                                       .num_layers = 24,
                                       .num_heads = 16,
                                       .num_kv_heads = 16,
                                       .qk_norm = QkNorm::per_head,
                                       .adjust = read_attention_bias};

/// transformers 4 keeps the experts' matrices the other way round.
void sparse_mlp(ModuleBuilder& b, const DecoderConfig& c, const Moe& moe) {
  b.module("mlp", c.class_name("SparseMoeBlock"), [&] {
    if (b.is_v5()) {
      stacked_experts(b, c, moe.num_experts, moe.intermediate_size);
      router(b, c, "gate", moe.num_experts);
      return;
    }
    router(b, c, "gate", moe.num_experts);
    b.module("experts", c.class_name("Experts"), [&] {
      b.parameter("gate_up_proj", {moe.num_experts, c.hidden_size, 2 * moe.intermediate_size});
      b.parameter("down_proj", {moe.num_experts, moe.intermediate_size, c.hidden_size});
      b.activation("act_fn", c.hidden_act);
    });
  });
}

void moe_text_model(ModuleBuilder& b, const ModelConfig& config) {
  const DecoderConfig c = read_decoder_config(b, config, kMoeTextFamily);
  const Moe moe = read_moe(c, config, 60, 1408);
  decoder_model(b, c, [&](uint64_t i) {
    decoder_attention(b, c, i);
    if (moe.is_sparse[i]) {
      sparse_mlp(b, c, moe);
    } else {
      decoder_mlp(b, c);
    }
    decoder_layer_norms(b, c);
  });
}

/// What tells the two model types apart.
struct Variant {
  std::string_view prefix, text_class;
  const DecoderFamily& text;
  void (*text_model)(ModuleBuilder& b, const ModelConfig& config);
  std::string class_name(std::string_view suffix) const { return std::string(prefix).append(suffix); }
};
constexpr Variant kDense{"Qwen3VL", "Qwen3VLTextModel", kTextFamily, declare_decoder<kTextFamily>};
constexpr Variant kMoe{"Qwen3VLMoe", "Qwen3VLMoeTextModel", kMoeTextFamily, moe_text_model};

struct VisionConfig {
  uint64_t hidden_size, intermediate_size, out_hidden_size, merged_size;
  std::string hidden_act;
};

void vision_block(ModuleBuilder& b, const VisionConfig& c, const Variant& variant) {
  b.layer_norm("norm1", c.hidden_size);
  b.layer_norm("norm2", c.hidden_size);
  b.module("attn", variant.class_name("VisionAttention"), [&] {
    b.linear("qkv", c.hidden_size, 3 * c.hidden_size, true);
    b.linear("proj", c.hidden_size, c.hidden_size, true);
  });
  b.module("mlp", variant.class_name("VisionMLP"), [&] {
    b.linear("linear_fc1", c.hidden_size, c.intermediate_size, true);
    b.linear("linear_fc2", c.intermediate_size, c.hidden_size, true);
    b.activation("act_fn", c.hidden_act);
  });
}

/// A square of patches becomes one token of the text model.
void patch_merger(ModuleBuilder& b, const VisionConfig& c, const Variant& variant, std::string_view name,
                  uint64_t norm_size) {
  b.module(name, variant.class_name("VisionPatchMerger"), [&] {
    b.layer_norm("norm", norm_size);
    b.linear("linear_fc1", c.merged_size, c.merged_size, true);
    b.module("act_fn", "GELU");
    b.linear("linear_fc2", c.merged_size, c.out_hidden_size, true);
  });
}

void vision_model(ModuleBuilder& b, const ModelConfig& config, const Variant& variant) {
  const uint64_t hidden_size = config.get_uint("hidden_size", 1152);
  const uint64_t merge_size = config.get_uint("spatial_merge_size", 2);
  const VisionConfig c{.hidden_size = hidden_size,
                       .intermediate_size = config.get_uint("intermediate_size", 4304),
                       .out_hidden_size = config.get_uint("out_hidden_size", 3584),
                       .merged_size = product(hidden_size, product(merge_size, merge_size)),
                       .hidden_act = config.get_string("hidden_act", "gelu_pytorch_tanh")};
  const uint64_t num_heads = config.get_uint({"num_heads", "num_attention_heads"}, 16);
  if (num_heads == 0) throw Error(ErrorCode::invalid_config, "num_heads of vision_config is 0");
  const uint64_t patch_size = config.get_uint("patch_size", 16);
  b.module("patch_embed", variant.class_name("VisionPatchEmbed"), [&] {
    b.module("proj", "Conv3d", [&] {
      b.parameter("weight", {hidden_size, config.get_uint("in_channels", 3),
                             config.get_uint("temporal_patch_size", 2), patch_size, patch_size});
      b.parameter("bias", {hidden_size});
    });
  });
  b.embedding("pos_embed", config.get_uint("num_position_embeddings", 2304), hidden_size);
  b.rotary_embedding("rotary_pos_emb", variant.class_name("VisionRotaryEmbedding"),
                     (hidden_size / num_heads / 2 + 1) / 2);
  b.list("blocks", config.get_count({"depth", "num_hidden_layers"}, 27), [&](uint64_t i) {
    b.module(index_name(i), variant.class_name("VisionBlock"), [&] { vision_block(b, c, variant); });
  });
  patch_merger(b, c, variant, "merger", hidden_size);
  const auto deepstack = config.get_uints("deepstack_visual_indexes");
  b.list("deepstack_merger_list", deepstack ? deepstack->size() : 3,
         [&](uint64_t i) { patch_merger(b, c, variant, index_name(i), c.merged_size); });
}

template <const Variant& kVariant>
void vl_model(ModuleBuilder& b, const ModelConfig& config) {
  const ModelConfig vision = config.nested("vision_config"), text = config.nested("text_config");
  b.module("visual", kVariant.class_name("VisionModel"),
           [&] { b.part(vision, [&] { vision_model(b, vision, kVariant); }); });
  b.module("language_model", kVariant.text_class,
           [&] { b.part(text, [&] { kVariant.text_model(b, text); }); });
}

template <const Variant& kVariant>
void conditional_generation(ModuleBuilder& b, const ModelConfig& config) {
  const ModelConfig text = config.nested("text_config");
  b.module("model", kVariant.class_name("Model"), [&] { vl_model<kVariant>(b, config); });
  b.linear("lm_head", text.get_uint("hidden_size", kVariant.text.hidden_size),
           text.get_uint("vocab_size", kVariant.text.vocab_size), false);
  // The key of the whole model counts in transformers 5, that of the text model in transformers 4.
  if ((b.is_v5() ? config : text).get_bool("tie_word_embeddings", false))
    b.tie("lm_head.weight", "model.language_model.embed_tokens.weight");
}

constexpr NameList kNoSplit = {"Qwen3VLTextDecoderLayer", "Qwen3VLVisionBlock"};
constexpr NameList kMoeNoSplit = {"Qwen3VLMoeTextDecoderLayer", "Qwen3VLMoeVisionBlock"};

constexpr ModelClass kClasses[] = {
    {"Qwen3VLForConditionalGeneration", "model", conditional_generation<kDense>, kNoSplit},
    {.name = "Qwen3VLModel",
     .base_model_prefix = "",
     .declare = vl_model<kDense>,
     .no_split_modules = kNoSplit,
     .v5_base_model_prefix = "model"},
};
constexpr ModelClass kMoeClasses[] = {
    {"Qwen3VLMoeForConditionalGeneration", "model", conditional_generation<kMoe>, kMoeNoSplit},
    {.name = "Qwen3VLMoeModel",
     .base_model_prefix = "",
     .declare = vl_model<kMoe>,
     .no_split_modules = kMoeNoSplit,
     .v5_base_model_prefix = "model"},
};
constexpr ModelClass kTextClasses[] = {{.name = kDense.text_class,
                                        .base_model_prefix = "model",
                                        .declare = kDense.text_model,
                                        .no_split_modules = {"Qwen3VLTextDecoderLayer"},
                                        .v5_no_split_modules = kNoSplit}};
constexpr ModelClass kMoeTextClasses[] = {{.name = kMoe.text_class,
                                           .base_model_prefix = "model",
                                           .declare = kMoe.text_model,
                                           .no_split_modules = {"Qwen3VLMoeTextDecoderLayer"},
                                           .v5_no_split_modules = kMoeNoSplit}};

}  // namespace

constexpr Architecture kQwen3Vl{"qwen3_vl", kClasses};
constexpr Architecture kQwen3VlMoe{"qwen3_vl_moe", kMoeClasses};
constexpr Architecture kQwen3VlMoeText{"qwen3_vl_moe_text", kMoeTextClasses};
constexpr Architecture kQwen3VlText{"qwen3_vl_text", kTextClasses};

}  // namespace hfload
