#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/model/architecture.h"

/// The mixers of Mamba (arXiv:2312.00752) and Mamba-2 (arXiv:2405.21060), which hybrid models have in some
/// layers. Each fills the open module and declares its convolution and state-space states.
namespace hfload {

/// The first: the state-space model's step, B and C are projected from the convolution's output.
struct MambaMixer {
  uint64_t hidden_size, intermediate_size, state_size, conv_kernel, time_step_rank;
  bool bias, conv_bias;
  std::string hidden_act;
  Dtype a_log_dtype;
};

/// A_log, D, conv1d, act, in_proj, x_proj, dt_proj, out_proj. `buffers` adds those of the mixer itself.
template <typename Buffers>
void mamba_mixer(ModuleBuilder& b, const MambaMixer& m, Buffers&& buffers);
inline void mamba_mixer(ModuleBuilder& b, const MambaMixer& m) {
  mamba_mixer(b, m, [] {});
}

/// The second: heads, of which n_groups have B and C in common.
struct Mamba2Mixer {
  std::string_view norm_class;
  uint64_t hidden_size, intermediate_size, num_heads, n_groups, state_size, conv_kernel;
  bool bias, conv_bias;
  std::string hidden_act;
};

/// dt_bias, A_log, D, act, conv1d, in_proj, norm, out_proj.
void mamba2_mixer(ModuleBuilder& b, const Mamba2Mixer& m);

/// torch.nn.Conv1d over each channel by itself: weight (channels, 1, kernel), bias (channels).
void depthwise_conv1d(ModuleBuilder& b, std::string_view name, uint64_t channels, uint64_t kernel, bool bias);

/// The whole part of `factor_key` times hidden_size. Throws Error(invalid_config) when it is no dimension.
uint64_t expanded_size(const ModelConfig& config, std::string_view factor_key, double fallback,
                       uint64_t hidden_size);
/// A number, or for "auto" a sixteenth of hidden_size, rounded up.
uint64_t time_step_rank(const ModelConfig& config, std::string_view key, uint64_t hidden_size);
/// A number; nothing when the key has the string "auto", is absent or null.
std::optional<uint64_t> get_uint_or_auto(const ModelConfig& config, std::string_view key);

template <typename Buffers>
void mamba_mixer(ModuleBuilder& b, const MambaMixer& m, Buffers&& buffers) {
  b.parameter("A_log", {m.intermediate_size, m.state_size}, m.a_log_dtype);
  b.parameter("D", {m.intermediate_size});
  buffers();
  depthwise_conv1d(b, "conv1d", m.intermediate_size, m.conv_kernel, m.conv_bias);
  b.activation("act", m.hidden_act);
  b.linear("in_proj", m.hidden_size, 2 * m.intermediate_size, m.bias);
  b.linear("x_proj", m.intermediate_size, m.time_step_rank + 2 * m.state_size, false);
  b.linear("dt_proj", m.time_step_rank, m.intermediate_size, true);
  b.linear("out_proj", m.intermediate_size, m.hidden_size, m.bias);
  b.state_cache(product(m.intermediate_size, m.conv_kernel + m.state_size));
}

}  // namespace hfload
