#include <string>
#include <string_view>

#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// GPT-2, as transformers 4.57 models/gpt2/modeling_gpt2.py builds it.
namespace hfload {
namespace {

struct Gpt2Config {
  uint64_t vocab_size, hidden_size, inner_dim, num_layers, num_heads, max_positions;
  bool cross_attention;
  std::string activation;
};

Gpt2Config read_config(const ModelConfig& config) {
  Gpt2Config c{};
  c.vocab_size = config.get_uint("vocab_size", 50257);
  c.hidden_size = config.get_uint({"n_embd", "hidden_size"}, 768);
  c.inner_dim = config.get_uint("n_inner", 4 * c.hidden_size);
  c.num_layers = config.get_count({"n_layer", "num_hidden_layers"}, 12);
  c.num_heads = config.get_uint({"n_head", "num_attention_heads"}, 12);
  c.max_positions = config.get_uint({"n_positions", "max_position_embeddings"}, 1024);
  c.cross_attention = config.get_bool("add_cross_attention", false);
  c.activation = config.get_string("activation_function", "gelu_new");
  return c;
}

void attention(ModuleBuilder& b, const Gpt2Config& c, std::string_view name, bool is_cross_attention) {
  b.module(name, "GPT2Attention", [&] {
    if (!b.is_v5()) {
      b.buffer("bias", {1, 1, c.max_positions, c.max_positions}, Dtype::boolean, false);
      // torch.tensor(-1e4) takes the default dtype, which is the model's while it is being built.
      b.buffer("masked_bias", {}, b.default_dtype(), false);
    }
    b.conv1d("c_attn", c.hidden_size, (is_cross_attention ? 2 : 3) * c.hidden_size);
    if (is_cross_attention) b.conv1d("q_attn", c.hidden_size, c.hidden_size);
    b.conv1d("c_proj", c.hidden_size, c.hidden_size);
    b.dropout("attn_dropout");
    b.dropout("resid_dropout");
    if (c.num_heads == 0) return;
    if (is_cross_attention) {
      b.cross_attention_cache(c.num_heads, c.hidden_size / c.num_heads);
    } else {
      b.attention_cache(c.num_heads, c.hidden_size / c.num_heads);
    }
  });
}

void block(ModuleBuilder& b, const Gpt2Config& c, uint64_t i) {
  b.module(index_name(i), "GPT2Block", [&] {
    b.layer_norm("ln_1", c.hidden_size);
    attention(b, c, "attn", false);
    b.layer_norm("ln_2", c.hidden_size);
    if (c.cross_attention) {
      attention(b, c, "crossattention", true);
      b.layer_norm("ln_cross_attn", c.hidden_size);
    }
    b.module("mlp", "GPT2MLP", [&] {
      b.conv1d("c_fc", c.hidden_size, c.inner_dim);
      b.conv1d("c_proj", c.inner_dim, c.hidden_size);
      b.activation("act", c.activation);
      b.dropout("dropout");
    });
  });
}

void transformer(ModuleBuilder& b, const Gpt2Config& c) {
  b.embedding("wte", c.vocab_size, c.hidden_size);
  b.embedding("wpe", c.max_positions, c.hidden_size);
  b.dropout("drop");
  b.list("h", c.num_layers, [&](uint64_t i) { block(b, c, i); });
  b.layer_norm("ln_f", c.hidden_size);
}

void declare(ModuleBuilder& b, const ModelConfig& config) { transformer(b, read_config(config)); }

constexpr BaseModel kModel{.class_name = "GPT2Model",
                           .declare = declare,
                           .vocab_size = 50257,
                           .hidden_size = 768,
                           .tie_word_embeddings = true,
                           .attribute = "transformer",
                           .embedding = "wte",
                           .hidden_size_key = "n_embd",
                           .token_classifier = "classifier"};

/// A language model with a second head that scores a whole sequence (GPT2SequenceSummary).
void double_heads(ModuleBuilder& b, const ModelConfig& config) {
  heads::causal_lm(b, config, kModel);
  const uint64_t hidden_size = read_config(config).hidden_size;
  b.module("multiple_choice_head", "GPT2SequenceSummary", [&] {
    if (config.get_bool("summary_use_proj", true)) {
      // The class sets the number of labels to one.
      b.linear("summary", hidden_size, config.get_bool("summary_proj_to_labels", true) ? 1 : hidden_size,
               true);
    } else {
      b.module("summary", "Identity");
    }
    if (const std::string activation = config.get_string("summary_activation", ""); !activation.empty()) {
      b.activation("activation", activation);
    } else {
      b.module("activation", "Identity");
    }
    const auto dropout = [&](std::string_view name, double rate) {
      b.module(name, rate > 0 ? "Dropout" : "Identity");
    };
    dropout("first_dropout", config.get_double("summary_first_dropout", 0.1));
    dropout("last_dropout", config.get_double("summary_last_dropout", 0));
  });
}

constexpr ModelClass model_class(std::string_view name,
                                 void (*declare_class)(ModuleBuilder&, const ModelConfig&)) {
  return {.name = name,
          .base_model_prefix = "transformer",
          .declare = declare_class,
          .no_split_modules = {"GPT2Block"},
          .v5_ignore_unexpected = {{"attn.bias", "crossattention.bias"}}};
}

constexpr ModelClass kClasses[] = {
    model_class("GPT2LMHeadModel", causal_lm<kModel>),
    model_class("GPT2Model", base_model<kModel>),
    model_class("GPT2ForSequenceClassification", sequence_classification<kModel>),
    model_class("GPT2ForTokenClassification", token_classification<kModel>),
    model_class("GPT2ForQuestionAnswering", question_answering<kModel>),
    model_class("GPT2DoubleHeadsModel", double_heads),
};

}  // namespace

constexpr Architecture kGpt2{"gpt2", kClasses};

}  // namespace hfload
