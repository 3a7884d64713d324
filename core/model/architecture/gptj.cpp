#include <string>
#include <string_view>

#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// GPT-J and CodeGen, as transformers 4.57 models/gptj and models/codegen build them: one skeleton, other
/// class names; CodeGen has one projection for queries, keys and values.
namespace hfload {
namespace {

struct GptjConfig {
  uint64_t vocab_size, hidden_size, inner_dim, num_layers, num_heads, head_dim, max_positions, rotary_dim;
  std::string activation;
};

GptjConfig read_config(const ModelConfig& config) {
  GptjConfig c{};
  c.vocab_size = config.get_uint("vocab_size", 50400);
  c.hidden_size = config.get_uint({"n_embd", "hidden_size"}, 4096);
  c.inner_dim = config.get_uint("n_inner", 4 * c.hidden_size);
  c.num_layers = config.get_count({"n_layer", "num_hidden_layers"}, 28);
  c.num_heads = config.get_uint({"n_head", "num_attention_heads"}, 16);
  c.head_dim = heads::head_dim(c.hidden_size, c.num_heads);
  c.max_positions = config.get_uint({"n_positions", "max_position_embeddings"}, 2048);
  c.rotary_dim = config.get_uint("rotary_dim", 64);
  if (c.rotary_dim == 0) c.rotary_dim = c.hidden_size;
  c.activation = config.get_string("activation_function", "gelu_new");
  return c;
}

/// The class names of one family.
struct Family {
  std::string_view block, attention, mlp;
  bool fused_qkv;
};
constexpr Family kGptjFamily{"GPTJBlock", "GPTJAttention", "GPTJMLP", false};
constexpr Family kCodegenFamily{"CodeGenBlock", "CodeGenAttention", "CodeGenMLP", true};

void block(ModuleBuilder& b, const GptjConfig& c, const Family& family, uint64_t i) {
  b.module(index_name(i), family.block, [&] {
    b.layer_norm("ln_1", c.hidden_size);
    b.module("attn", family.attention, [&] {
      // Sines and cosines; transformers 4 keeps them outside its buffers.
      if (b.is_v5()) {
        b.buffer("embed_positions", {c.max_positions, 2 * ((c.rotary_dim + 1) / 2)}, Dtype::f32, false);
      }
      b.dropout("attn_dropout");
      b.dropout("resid_dropout");
      if (family.fused_qkv) {
        b.linear("qkv_proj", c.hidden_size, 3 * c.hidden_size, false);
      } else {
        for (const std::string_view name : {"k_proj", "v_proj", "q_proj"})
          b.linear(name, c.hidden_size, c.hidden_size, false);
      }
      b.linear("out_proj", c.hidden_size, c.hidden_size, false);
      b.attention_cache(c.num_heads, c.head_dim);
    });
    b.module("mlp", family.mlp, [&] {
      b.linear("fc_in", c.hidden_size, c.inner_dim, true);
      b.linear("fc_out", c.inner_dim, c.hidden_size, true);
      b.activation("act", c.activation);
      b.dropout("dropout");
    });
  });
}

template <const Family& kFamily>
void declare(ModuleBuilder& b, const ModelConfig& config) {
  const GptjConfig c = read_config(config);
  b.embedding("wte", c.vocab_size, c.hidden_size);
  b.dropout("drop");
  b.list("h", c.num_layers, [&](uint64_t i) { block(b, c, kFamily, i); });
  b.layer_norm("ln_f", c.hidden_size);
}

constexpr BaseModel model(std::string_view class_name,
                          void (*declare_model)(ModuleBuilder&, const ModelConfig&)) {
  return {.class_name = class_name,
          .declare = declare_model,
          .vocab_size = 50400,
          .hidden_size = 4096,
          .attribute = "transformer",
          .embedding = "wte",
          .hidden_size_key = "n_embd",
          .lm_head_bias = true};
}
constexpr BaseModel kGptjModel = model("GPTJModel", declare<kGptjFamily>);
constexpr BaseModel kCodegenModel = model("CodeGenModel", declare<kCodegenFamily>);

void gptj_question_answering(ModuleBuilder& b, const ModelConfig& config) {
  heads::declare_base(b, config, kGptjModel);
  b.linear("qa_outputs", read_config(config).hidden_size, config.num_labels(), true);
}

constexpr ModelClass kGptjClasses[] = {
    {"GPTJForCausalLM", "transformer", causal_lm<kGptjModel>, {"GPTJBlock"}},
    {"GPTJModel", "transformer", base_model<kGptjModel>, {"GPTJBlock"}},
    {"GPTJForSequenceClassification", "transformer", sequence_classification<kGptjModel>, {"GPTJBlock"}},
    {"GPTJForQuestionAnswering", "transformer", gptj_question_answering, {"GPTJBlock"}},
};
constexpr ModelClass kCodegenClasses[] = {
    {"CodeGenForCausalLM", "transformer", causal_lm<kCodegenModel>, {"CodeGenBlock"}},
    {"CodeGenModel", "transformer", base_model<kCodegenModel>, {"CodeGenBlock"}},
};

}  // namespace

constexpr Architecture kGptj{"gptj", kGptjClasses};
constexpr Architecture kCodegen{"codegen", kCodegenClasses};

}  // namespace hfload
