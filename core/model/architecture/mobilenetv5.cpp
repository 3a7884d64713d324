#include "core/model/architecture/mobilenetv5.h"

namespace hfload {
namespace {

/// A square convolution without bias. timm pads by itself where the stride is above 1.
struct Convolution {
  uint64_t in_channels, out_channels, kernel, groups = 1;
  bool is_strided = false;
};

void convolution(ModuleBuilder& b, std::string_view name, const Convolution& c, bool bias = false) {
  b.module(name, c.is_strided ? "Conv2dSame" : "Conv2d", [&] {
    b.parameter("weight", {c.out_channels, c.in_channels / c.groups, c.kernel, c.kernel});
    if (bias) b.parameter("bias", {c.out_channels});
  });
}

void norm_act(ModuleBuilder& b, std::string_view name, uint64_t channels, bool activates) {
  b.module(name, "RmsNormAct2d", [&] {
    b.parameter("weight", {channels});
    b.module("drop", "Identity");
    b.module("act", activates ? "GELU" : "Identity");
  });
}

void conv_norm_act(ModuleBuilder& b, std::string_view name, const Convolution& c, bool activates,
                   bool bias = false) {
  b.module(name, "ConvNormAct", [&] {
    convolution(b, "conv", c, bias);
    norm_act(b, "bn", c.out_channels, activates);
  });
}

void layer_scale(ModuleBuilder& b, uint64_t channels) {
  b.module("layer_scale", "LayerScale2d", [&] { b.parameter("gamma", {channels}); });
  b.module("drop_path", "Identity");
}

/// A full convolution that widens by 4 and a projection.
void edge_residual(ModuleBuilder& b, uint64_t i, uint64_t in_channels, uint64_t out_channels) {
  const uint64_t wide = 4 * in_channels;
  b.module(index_name(i), "EdgeResidual", [&] {
    convolution(b, "conv_exp",
                {.in_channels = in_channels, .out_channels = wide, .kernel = 3, .is_strided = i == 0});
    norm_act(b, "bn1", wide, true);
    b.module("aa", "Identity");
    b.module("se", "Identity");
    convolution(b, "conv_pwl", {.in_channels = wide, .out_channels = out_channels, .kernel = 1});
    norm_act(b, "bn2", out_channels, false);
    b.module("drop_path", "Identity");
  });
}

/// Kernels of the depthwise convolutions before and after widening, 0 for none; the latter is strided.
struct InvertedResidual {
  uint64_t in_channels, out_channels, expansion, start_kernel = 0, middle_kernel = 0;
  bool has_layer_scale = true;
};

void inverted_residual(ModuleBuilder& b, std::string_view name, const InvertedResidual& r) {
  const uint64_t wide = r.in_channels * r.expansion;
  const auto depthwise = [&](std::string_view child, uint64_t channels, uint64_t kernel, bool is_middle) {
    if (kernel == 0) {
      b.module(child, "Identity");
    } else {
      conv_norm_act(b, child, {channels, channels, kernel, channels, is_middle}, is_middle);
    }
  };
  b.module(name, "UniversalInvertedResidual", [&] {
    depthwise("dw_start", r.in_channels, r.start_kernel, false);
    conv_norm_act(b, "pw_exp", {.in_channels = r.in_channels, .out_channels = wide, .kernel = 1}, true);
    depthwise("dw_mid", wide, r.middle_kernel, true);
    b.module("se", "Identity");
    conv_norm_act(b, "pw_proj", {.in_channels = wide, .out_channels = r.out_channels, .kernel = 1}, false);
    b.module("dw_end", "Identity");
    if (r.has_layer_scale) return layer_scale(b, r.out_channels);
    b.module("layer_scale", "Identity");
    b.module("drop_path", "Identity");
  });
}

/// Attention over places, with one head of keys and values, whose places are thinned out where it says so.
struct Attention {
  uint64_t channels, num_heads, head_dim;
  bool is_thinned;
};

void attention(ModuleBuilder& b, std::string_view name, const Attention& a) {
  const uint64_t width = a.num_heads * a.head_dim;
  const auto pointwise = [&](uint64_t in_channels, uint64_t out_channels) {
    convolution(b, "proj", {.in_channels = in_channels, .out_channels = out_channels, .kernel = 1});
  };
  b.module(name, "MobileAttention", [&] {
    norm_act(b, "norm", a.channels, false);
    b.module("attn", "MultiQueryAttention2d", [&] {
      b.module("query", "Sequential", [&] { pointwise(a.channels, width); });
      for (const char* part : {"key", "value"}) {
        b.module(part, "Sequential", [&] {
          if (a.is_thinned) {
            convolution(b, "down_conv", {a.channels, a.channels, 3, a.channels, true});
            b.rms_norm("norm", "RmsNorm2d", a.channels);
          }
          pointwise(a.channels, a.head_dim);
        });
      }
      b.dropout("attn_drop");
      b.module("output", "Sequential", [&] {
        pointwise(width, a.channels);
        b.dropout("drop");
      });
    });
    layer_scale(b, a.channels);
  });
}

/// Attention and a residual block in turn, from block `first` of a stage on.
void attention_pairs(ModuleBuilder& b, uint64_t first, uint64_t count, const Attention& a) {
  for (uint64_t i = 0; i < count; ++i) {
    attention(b, index_name(first + 2 * i), a);
    inverted_residual(b, index_name(first + 2 * i + 1), {a.channels, a.channels, 2});
  }
}

void stages(ModuleBuilder& b) {
  b.module("0", "Sequential", [&] {
    for (uint64_t i = 0; i < 3; ++i) edge_residual(b, i, i == 0 ? 64 : 128, 128);
  });
  b.module("1", "Sequential", [&] {
    inverted_residual(b, "0", {128, 256, 6, 3, 5});
    for (uint64_t i = 1; i < 5; ++i)
      inverted_residual(b, index_name(i), {256, 256, 4, i % 2 == 1 ? uint64_t{5} : uint64_t{3}});
  });
  b.module("2", "Sequential", [&] {
    inverted_residual(b, "0", {256, 640, 6, 5, 5});
    for (uint64_t i = 1; i < 8; ++i) inverted_residual(b, index_name(i), {640, 640, 4, 5});
    inverted_residual(b, "8", {640, 640, 1});
    attention_pairs(b, 9, 14, {640, 12, 64, true});
  });
  b.module("3", "Sequential", [&] {
    inverted_residual(b, "0", {640, 1280, 6, 5, 5});
    attention_pairs(b, 1, 19, {1280, 16, 96, false});
  });
}

}  // namespace

void mobilenetv5_300m_encoder(ModuleBuilder& b) {
  conv_norm_act(b, "conv_stem", {.in_channels = 3, .out_channels = 64, .kernel = 3, .is_strided = true}, true,
                true);
  b.module("blocks", "Sequential", [&] { stages(b); });
  b.module("msfa", "MobileNetV5MultiScaleFusionAdapter", [&] {
    inverted_residual(b, "ffn",
                      {.in_channels = 640 + 1280,
                       .out_channels = kMobileNetV5Features,
                       .expansion = 2,
                       .has_layer_scale = false});
    b.rms_norm("norm", "RmsNorm2d", kMobileNetV5Features);
  });
}

}  // namespace hfload
