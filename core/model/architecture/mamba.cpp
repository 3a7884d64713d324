#include "core/model/architecture/mamba.h"

#include <fmt/core.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/model/architecture/heads.h"
#include "core/model/architecture/registry.h"

/// Mamba, FalconMamba and Mamba-2, as models/mamba, models/falcon_mamba and models/mamba2 of
/// transformers 4.57 and 5 build them.
namespace hfload {

void depthwise_conv1d(ModuleBuilder& b, std::string_view name, uint64_t channels, uint64_t kernel,
                      bool bias) {
  b.module(name, "Conv1d", [&] {
    b.parameter("weight", {channels, 1, kernel});
    if (bias) b.parameter("bias", {channels});
  });
}

void mamba2_mixer(ModuleBuilder& b, const Mamba2Mixer& m) {
  // Of the state no tensor is made that would bound its size.
  const double state_elements =
      static_cast<double>(std::max(m.n_groups, m.intermediate_size)) * static_cast<double>(m.state_size);
  if (state_elements > 0x1p48) {
    throw Error(ErrorCode::invalid_config,
                fmt::format("a Mamba state of {} elements is too large", state_elements));
  }
  const uint64_t conv_dim = m.intermediate_size + 2 * m.n_groups * m.state_size;
  b.parameter("dt_bias", {m.num_heads});
  b.parameter("A_log", {m.num_heads});
  b.parameter("D", {m.num_heads});
  b.activation("act", m.hidden_act);
  depthwise_conv1d(b, "conv1d", conv_dim, m.conv_kernel, m.conv_bias);
  b.linear("in_proj", m.hidden_size, m.intermediate_size + conv_dim + m.num_heads, m.bias);
  b.rms_norm("norm", m.norm_class, m.intermediate_size);
  b.linear("out_proj", m.intermediate_size, m.hidden_size, m.bias);
  b.state_cache(product(conv_dim, m.conv_kernel) + product(m.intermediate_size, m.state_size));
}

uint64_t expanded_size(const ModelConfig& config, std::string_view factor_key, double fallback,
                       uint64_t hidden_size) {
  const double size = config.get_double(factor_key, fallback) * static_cast<double>(hidden_size);
  if (!(size >= 0 && size <= 0x1p48)) {
    throw Error(ErrorCode::invalid_config,
                fmt::format("{} times the hidden size is {}, which is no size", factor_key, size));
  }
  return static_cast<uint64_t>(size);
}

std::optional<uint64_t> get_uint_or_auto(const ModelConfig& config, std::string_view key) {
  const ConfigValue* value = config.find(key);
  const auto* text = value == nullptr ? nullptr : std::get_if<std::string>(&value->value);
  if (text != nullptr && *text == "auto") return {};
  return config.get_uint(key);
}

uint64_t time_step_rank(const ModelConfig& config, std::string_view key, uint64_t hidden_size) {
  return get_uint_or_auto(config, key).value_or((hidden_size + 15) / 16);
}

namespace {

constexpr uint64_t kVocabSize = 50280, kHiddenSize = 768;  // of Mamba and FalconMamba
constexpr uint64_t kVocabSize2 = 32768, kHiddenSize2 = 4096;

/// Declares the children of a base model: `mixer` fills that of a layer.
template <typename Mixer>
void backbone(ModuleBuilder& b, const ModelConfig& config, std::string_view prefix, uint64_t vocab_size,
              uint64_t hidden_size, uint64_t num_layers, Mixer&& mixer) {
  const std::string block = fmt::format("{}Block", prefix), norm = fmt::format("{}RMSNorm", prefix),
                    mixer_class = fmt::format("{}Mixer", prefix);
  b.embedding("embeddings", config.get_uint("vocab_size", vocab_size), hidden_size);
  b.list("layers", config.get_count("num_hidden_layers", num_layers), [&](uint64_t i) {
    b.module(index_name(i), block, [&] {
      b.rms_norm("norm", norm, hidden_size);
      b.module("mixer", mixer_class, mixer);
    });
  });
  b.rms_norm("norm_f", norm, hidden_size);
}

MambaMixer read_mixer(const ModuleBuilder& b, const ModelConfig& config) {
  const uint64_t hidden_size = config.get_uint("hidden_size", kHiddenSize);
  const uint64_t expanded = expanded_size(config, "expand", 2, hidden_size);
  return {.hidden_size = hidden_size,
          // No argument of the configuration class, yet it is set when config.json has it.
          .intermediate_size = config.get_uint("intermediate_size", expanded),
          .state_size = config.get_uint("state_size", 16),
          .conv_kernel = config.get_uint("conv_kernel", 4),
          .time_step_rank = time_step_rank(config, "time_step_rank", hidden_size),
          .bias = config.get_bool("use_bias", false),
          .conv_bias = config.get_bool("use_conv_bias", true),
          .hidden_act = config.get_string("hidden_act", "silu"),
          // The classes of transformers 4 make it of a float32 range, whatever the model's dtype.
          .a_log_dtype = b.is_v5() ? b.default_dtype() : Dtype::f32};
}

void mamba(ModuleBuilder& b, const ModelConfig& config) {
  const MambaMixer m = read_mixer(b, config);
  backbone(b, config, "Mamba", kVocabSize, m.hidden_size, 32, [&] { mamba_mixer(b, m); });
}

/// Norms of the step, B and C without parameters: buffers of ones.
void falcon_mamba_mixer(ModuleBuilder& b, const MambaMixer& m) {
  const auto ones = [&](std::string_view name, uint64_t features) {
    b.buffer(name, {features}, b.default_dtype(), false);
  };
  if (!b.is_v5()) {
    mamba_mixer(b, m, [&] {
      ones("b_c_rms", m.state_size);
      ones("dt_rms", m.intermediate_size);
    });
    return;
  }
  mamba_mixer(b, m);
  const auto norm = [&](std::string_view name, uint64_t features) {
    b.module(name, "FalconMambaWeightlessRMSNorm", [&] { ones("weight", features); });
  };
  norm("dt_layernorm", m.intermediate_size);
  norm("b_layernorm", m.state_size);
  norm("c_layernorm", m.state_size);
}

void falcon_mamba(ModuleBuilder& b, const ModelConfig& config) {
  const MambaMixer m = read_mixer(b, config);
  backbone(b, config, "FalconMamba", kVocabSize, m.hidden_size, 32, [&] { falcon_mamba_mixer(b, m); });
}

void mamba2(ModuleBuilder& b, const ModelConfig& config) {
  const uint64_t hidden_size = config.get_uint("hidden_size", kHiddenSize2);
  const Mamba2Mixer m{.norm_class = "MambaRMSNormGated",
                      .hidden_size = hidden_size,
                      .intermediate_size = expanded_size(config, "expand", 2, hidden_size),
                      .num_heads = config.get_uint("num_heads", 128),
                      .n_groups = config.get_uint("n_groups", 8),
                      .state_size = config.get_uint("state_size", 128),
                      .conv_kernel = config.get_uint("conv_kernel", 4),
                      .bias = config.get_bool("use_bias", false),
                      .conv_bias = config.get_bool("use_conv_bias", true),
                      .hidden_act = config.get_string("hidden_act", "silu")};
  backbone(b, config, "Mamba2", kVocabSize2, hidden_size, 64, [&] { mamba2_mixer(b, m); });
}

constexpr BaseModel base(std::string_view class_name, void (*declare)(ModuleBuilder&, const ModelConfig&),
                         uint64_t vocab_size, uint64_t hidden_size, bool tie_word_embeddings) {
  return {.class_name = class_name,
          .declare = declare,
          .vocab_size = vocab_size,
          .hidden_size = hidden_size,
          .tie_word_embeddings = tie_word_embeddings,
          .attribute = "backbone",
          .embedding = "embeddings"};
}

constexpr BaseModel kMambaBase = base("MambaModel", mamba, kVocabSize, kHiddenSize, true);
constexpr BaseModel kFalconBase = base("FalconMambaModel", falcon_mamba, kVocabSize, kHiddenSize, true);
constexpr BaseModel kMamba2Base = base("Mamba2Model", mamba2, kVocabSize2, kHiddenSize2, false);

constexpr NameList kMambaNoSplit = {"MambaBlock", "MambaMixer"};
constexpr NameList kFalconNoSplit = {"FalconMambaBlock", "FalconMambaMixer"};
constexpr NameList kMamba2NoSplit = {"Mamba2Block"};

constexpr ModelClass kMambaClasses[] = {
    {"MambaForCausalLM", "backbone", causal_lm<kMambaBase>, kMambaNoSplit},
    {"MambaModel", "backbone", base_model<kMambaBase>, kMambaNoSplit},
};
constexpr ModelClass kFalconClasses[] = {
    {"FalconMambaForCausalLM", "backbone", causal_lm<kFalconBase>, kFalconNoSplit},
    {"FalconMambaModel", "backbone", base_model<kFalconBase>, kFalconNoSplit},
};
constexpr ModelClass kMamba2Classes[] = {
    {"Mamba2ForCausalLM", "backbone", causal_lm<kMamba2Base>, kMamba2NoSplit},
    {"Mamba2Model", "backbone", base_model<kMamba2Base>, kMamba2NoSplit},
};

}  // namespace

constexpr Architecture kMamba{"mamba", kMambaClasses};
constexpr Architecture kFalconMamba{"falcon_mamba", kFalconClasses};
constexpr Architecture kMamba2{"mamba2", kMamba2Classes};

}  // namespace hfload
