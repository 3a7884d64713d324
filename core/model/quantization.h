#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/format/dtype.h"
#include "core/format/model_config.h"

namespace hfload {

/// How a checkpoint's weights are quantised.
struct Quantization {
  enum class Method : uint8_t {
    bitsandbytes_4bit,
    bitsandbytes_8bit,
    gptq,
    awq,
    compressed_tensors,
    fp8,    ///< float8_e4m3 with one scale a block (DeepSeek-V3, transformers' FineGrainedFP8)
    mxfp4,  ///< 32 four-bit floats with one eight-bit scale (OCP Microscaling 1.0; gpt-oss)
    other,
  };
  /// What shares one scale.
  enum class Scales : uint8_t { tensor, channel, group, block };

  Method method = Method::other;
  std::string name;              ///< for people: "GPTQ, 4 bit, groups of 128"
  uint64_t bits = 4;             ///< per stored weight, 1 to 32, where the method packs them
  uint64_t group_columns = 128;  ///< input features with one scale; 0: all of them
  Scales scales = Scales::group;
  uint64_t block_rows = 128, block_columns = 128;  ///< of Scales::block; never 0
  bool double_quantized = false;                   ///< bitsandbytes: the scales are quantised too
  bool is_gemv = false;                            ///< AWQ: packed along the input, for another kernel
  bool is_packed = false;                          ///< compressed-tensors: several weights in one element,
  Dtype packed = Dtype::i32;                       ///< which has this dtype
  bool is_mixed = false;                           ///< compressed-tensors: not all layers are quantised alike
  std::optional<Dtype> scale;                      ///< dtype of the scales, where it is not the model's
  Dtype storage = Dtype::u8;  ///< of bitsandbytes' 4 bit weights, and of weights that are not packed
};

/// What config.json's `quantization_config` says; nothing where there is none. Throws Error(invalid_config).
std::optional<Quantization> read_quantization(const ModelConfig& config);

}  // namespace hfload
