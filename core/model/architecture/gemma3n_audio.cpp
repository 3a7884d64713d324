#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/base/error.h"
#include "core/model/architecture/gemma3n.h"

/// The audio encoder of Gemma 3n, as models/gemma3n of transformers 4.57 and 5 builds it.
namespace hfload {
namespace {

constexpr std::string_view kNorm = "Gemma3nRMSNorm";

struct AudioConfig {
  uint64_t hidden_size, num_heads, head_dim, chunk_size, context_size, kernel;
};

using Pair = std::pair<uint64_t, uint64_t>;

/// Two pairs, of time and of frequency for each of two convolutions: [[3, 3], [3, 3]].
std::array<Pair, 2> get_pairs(const ModelConfig& config, const char* key, uint64_t fallback) {
  const ConfigValue* found = config.find(key);
  if (found == nullptr || found->is_null()) return {Pair{fallback, fallback}, Pair{fallback, fallback}};
  std::array<Pair, 2> pairs{};
  const auto* outer = std::get_if<ConfigValue::Array>(&found->value);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const ConfigValue::Array* inner = outer == nullptr || outer->size() <= i
                                          ? nullptr
                                          : std::get_if<ConfigValue::Array>(&(*outer)[i].value);
    const auto at = [&](size_t k) {
      return inner == nullptr || inner->size() != 2 ? nullptr : std::get_if<uint64_t>(&(*inner)[k].value);
    };
    // No convolution over 128 frequencies is larger.
    if (at(0) == nullptr || at(1) == nullptr || *at(0) > 1'000'000 || *at(1) > 1'000'000)
      throw Error(ErrorCode::invalid_config, fmt::format("{} must be two pairs of small numbers", key));
    pairs[i] = {*at(0), *at(1)};
  }
  return pairs;
}

void gradient_clipping(ModuleBuilder& b) { b.buffer("gradient_clipping", {}, b.default_dtype(), false); }

/// Two convolutions that thin out time and frequency, and a projection of the frequencies that are left.
void subsampling(ModuleBuilder& b, const ModelConfig& config, uint64_t hidden_size) {
  const auto kernels = get_pairs(config, "sscp_conv_kernel_size", 3);
  const auto strides = get_pairs(config, "sscp_conv_stride_size", 2);
  const auto channels = config.get_uints("sscp_conv_channel_size").value_or(std::vector<uint64_t>{128, 32});
  if (channels.size() != 2)
    throw Error(ErrorCode::invalid_config, "sscp_conv_channel_size must be two numbers");
  uint64_t frequencies = config.get_uint("input_feat_size", 128), in_channels = 1;
  b.module("subsample_conv_projection", "Gemma3nAudioSubSampleConvProjection", [&] {
    for (size_t i = 0; i < channels.size(); ++i) {
      b.module(fmt::format("conv_{}", i), "Gemma3nAudioSSCPConvBlock", [&] {
        b.conv2d("conv", in_channels, channels[i], kernels[i].first, kernels[i].second, false);
        b.rms_norm("norm", "Gemma3nAudioCumulativeGroupNorm", channels[i]);
        b.module("activation", "ReLU");
      });
      if (strides[i].second == 0) throw Error(ErrorCode::invalid_config, "a stride of convolution is 0");
      frequencies = difference(frequencies + 2, kernels[i].second) / strides[i].second + 1;
      in_channels = channels[i];
    }
    b.linear("input_proj_linear", product(in_channels, frequencies), hidden_size, false);
  });
}

void feed_forward(ModuleBuilder& b, std::string_view name, uint64_t hidden_size) {
  b.module(name, "Gemma3nAudioConformerFeedForward", [&] {
    gradient_clipping(b);
    b.rms_norm("pre_layer_norm", kNorm, hidden_size);
    b.linear("ffw_layer_1", hidden_size, 4 * hidden_size, false);
    b.linear("ffw_layer_2", 4 * hidden_size, hidden_size, false);
    b.rms_norm("post_layer_norm", kNorm, hidden_size);
  });
}

void local_attention(ModuleBuilder& b, const AudioConfig& c) {
  const uint64_t heads_size = c.num_heads * c.head_dim;
  b.parameter("per_dim_scale", {c.head_dim});
  b.buffer("q_scale", {}, b.default_dtype(), false);
  b.buffer("local_causal_valid_mask", {c.chunk_size, c.context_size}, Dtype::boolean, false);
  b.buffer("softcap", {}, Dtype::f32, false);
  b.module("relative_position_embedding", "Gemma3nAudioRelativePositionEmbedding", [&] {
    b.buffer("inv_timescales", {1, 1, c.hidden_size / 2}, Dtype::f32, false);
    b.linear("pos_proj", c.hidden_size, heads_size, false);
  });
  for (const char* name : {"q_proj", "k_proj", "v_proj"}) b.linear(name, c.hidden_size, heads_size, false);
}

void conformer_block(ModuleBuilder& b, const AudioConfig& c) {
  gradient_clipping(b);
  feed_forward(b, "ffw_layer_start", c.hidden_size);
  b.module("attention", "Gemma3nAudioConformerAttention", [&] {
    gradient_clipping(b);
    b.rms_norm("pre_attn_norm", kNorm, c.hidden_size);
    b.module("attn", "Gemma3nAudioAttention", [&] { local_attention(b, c); });
    b.linear("post", c.hidden_size, c.hidden_size, false);
    b.rms_norm("post_norm", kNorm, c.hidden_size);
  });
  b.module("lconv1d", "Gemma3nAudioConformerLightConv1d", [&] {
    gradient_clipping(b);
    b.rms_norm("pre_layer_norm", kNorm, c.hidden_size);
    b.linear("linear_start", c.hidden_size, 2 * c.hidden_size, false);
    b.module("depthwise_conv1d", "Conv1d", [&] { b.parameter("weight", {c.hidden_size, 1, c.kernel}); });
    b.rms_norm("conv_norm", kNorm, c.hidden_size);
    b.linear("linear_end", c.hidden_size, c.hidden_size, false);
  });
  feed_forward(b, "ffw_layer_end", c.hidden_size);
  b.rms_norm("norm", kNorm, c.hidden_size);
}

}  // namespace

void gemma3n_audio_encoder(ModuleBuilder& b, const ModelConfig& audio_config) {
  const ModelConfig& config = audio_config;
  AudioConfig c{.hidden_size = config.get_uint("hidden_size", kGemma3nAudioHiddenSize),
                .num_heads = config.get_uint("conf_num_attention_heads", 8),
                .head_dim = 0,
                .chunk_size = config.get_uint("conf_attention_chunk_size", 12),
                .context_size = 0,
                .kernel = config.get_uint("conf_conv_kernel_size", 5)};
  if (c.num_heads == 0) throw Error(ErrorCode::invalid_config, "conf_num_attention_heads is 0");
  c.head_dim = c.hidden_size / c.num_heads;
  const uint64_t left = config.get_uint("conf_attention_context_left", 13);
  c.context_size =
      c.chunk_size + std::max<uint64_t>(left, 1) - 1 + config.get_uint("conf_attention_context_right", 0);
  subsampling(b, config, c.hidden_size);
  b.list("conformer", config.get_count("conf_num_hidden_layers", 12), [&](uint64_t i) {
    b.module(index_name(i), "Gemma3nAudioConformerBlock", [&] { conformer_block(b, c); });
  });
}

}  // namespace hfload
