#include "core/model/architecture/heads.h"

#include <fmt/core.h>

#include "core/base/error.h"

namespace hfload::heads {
namespace {

uint64_t hidden_size(const ModelConfig& config, const BaseModel& base) {
  return config.get_uint({base.hidden_size_key, "hidden_size"}, base.hidden_size);
}

}  // namespace

uint64_t head_dim(uint64_t hidden_size, uint64_t num_heads) {
  if (num_heads == 0 || hidden_size % num_heads != 0) {
    throw Error(
        ErrorCode::invalid_config,
        fmt::format("the hidden size {} is no multiple of the {} attention heads", hidden_size, num_heads));
  }
  return hidden_size / num_heads;
}

void declare_base(ModuleBuilder& b, const ModelConfig& config, const BaseModel& base) {
  b.module(base.attribute, base.class_name, [&] { base.declare(b, config); });
}

void causal_lm(ModuleBuilder& b, const ModelConfig& config, const BaseModel& base) {
  declare_base(b, config, base);
  b.linear("lm_head", hidden_size(config, base), config.get_uint("vocab_size", base.vocab_size),
           base.lm_head_bias);
  if (config.get_bool("tie_word_embeddings", base.tie_word_embeddings))
    b.tie("lm_head.weight", fmt::format("{}.{}.weight", base.attribute, base.embedding));
}

void sequence_classification(ModuleBuilder& b, const ModelConfig& config, const BaseModel& base) {
  declare_base(b, config, base);
  b.linear("score", hidden_size(config, base), config.num_labels(), false);
}

void token_classification(ModuleBuilder& b, const ModelConfig& config, const BaseModel& base) {
  declare_base(b, config, base);
  b.dropout("dropout");
  b.linear(base.token_classifier, hidden_size(config, base), config.num_labels(), true);
}

void question_answering(ModuleBuilder& b, const ModelConfig& config, const BaseModel& base,
                        std::string_view attribute) {
  b.module(attribute, base.class_name, [&] { base.declare(b, config); });
  b.linear("qa_outputs", hidden_size(config, base), 2, true);
}

}  // namespace hfload::heads
