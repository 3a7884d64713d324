#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/model/shell.h"

namespace hfload {
namespace {

Shell build(const char* json, Compat compat) {
  Checkpoint checkpoint;
  checkpoint.has_config = true;
  checkpoint.config = parse_model_config(json);
  ShellOptions options;
  options.compat = compat;
  return build_shell(checkpoint, options);
}

}  // namespace

TEST_CASE("absurd configs of encoders are refused", "[model]") {
  for (
      const char* json : {
          R"({"model_type":"roberta","architectures":["RobertaModel"],"num_attention_heads":0})",
          R"({"model_type":"roberta","architectures":["RobertaModel"],"hidden_act":"nonsense"})",
          R"({"model_type":"electra","architectures":["ElectraModel"],"num_attention_heads":7})",
          R"({"model_type":"electra","architectures":["ElectraForMultipleChoice"],"summary_activation":"nonsense"})",
          R"({"model_type":"big_bird","architectures":["BigBirdModel"],"attention_type":"dense"})",
          R"({"model_type":"distilbert","architectures":["DistilBertModel"],"n_heads":0})",
          R"({"model_type":"distilbert","architectures":["DistilBertForQuestionAnswering"],"num_labels":3})",
          R"({"model_type":"albert","architectures":["AlbertModel"],"num_attention_heads":0})",
          R"({"model_type":"albert","architectures":["AlbertModel"],"num_hidden_groups":100000,"inner_group_num":100000})",
          R"({"model_type":"deberta","architectures":["DebertaModel"],"num_attention_heads":0})",
          R"({"model_type":"deberta-v2","architectures":["DebertaV2Model"],"conv_kernel_size":3,"conv_groups":0})",
          R"({"model_type":"deberta-v2","architectures":["DebertaV2Model"],"attention_head_size":281474976710656})",
          R"({"model_type":"vit","architectures":["ViTModel"],"num_attention_heads":0})",
          R"({"model_type":"vit","architectures":["ViTModel"],"patch_size":0})",
          R"({"model_type":"vit","architectures":["ViTModel"],"patch_size":[16]})",
          R"({"model_type":"vit","architectures":["ViTModel"],"image_size":281474976710656})",
          R"({"model_type":"vit","architectures":["ViTForMaskedImageModeling"],"num_channels":281474976710656})",
          R"({"model_type":"clip_vision_model","architectures":["CLIPVisionModel"],"patch_size":0})",
          R"({"model_type":"clip_vision_model","architectures":["CLIPVisionModel"],"image_size":281474976710656})",
          R"({"model_type":"clip_text_model","architectures":["CLIPTextModel"],"num_attention_heads":0})",
          R"({"model_type":"mpnet","architectures":["MPNetModel"],"num_attention_heads":0})",
          R"({"model_type":"modernbert","architectures":["ModernBertModel"],"num_attention_heads":0})",
          R"({"model_type":"modernbert","architectures":["ModernBertModel"],"global_attn_every_n_layers":0})",
          R"({"model_type":"modernbert","architectures":["ModernBertModel"],"layer_types":["other"]})",
      }) {
    for (const Compat compat : {Compat::v4, Compat::v5}) {
      INFO(json);
      try {
        build(json, compat);
        FAIL("accepted");
      } catch (const Error& e) {
        CHECK(e.code() == ErrorCode::invalid_config);
      }
    }
  }
}

TEST_CASE("an encoder that decodes has a cache, and one that only encodes has none", "[model]") {
  for (const Compat compat : {Compat::v4, Compat::v5}) {
    const char* encoder =
        R"({"model_type":"roberta","architectures":["RobertaModel"],"num_hidden_layers":2})";
    CHECK(build(encoder, compat).tree.layer_caches.empty());
    const char* decoder =
        R"({"model_type":"roberta","architectures":["RobertaForCausalLM"],"num_hidden_layers":2,
            "is_decoder":true,"add_cross_attention":true})";
    const auto caches = build(decoder, compat).tree.layer_caches;
    REQUIRE(caches.size() == 4);
    CHECK(caches[0].elements_per_token == 2 * 768);
  }
}

}  // namespace hfload
