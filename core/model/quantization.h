#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/model/checkpoint.h"
#include "core/model/module_tree.h"

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
  Method method = Method::other;
  std::string name;                                ///< for people: "GPTQ, 4 bit, groups of 128"
  uint64_t bits = 4;                               ///< per stored weight, where the method packs them
  uint64_t group_columns = 128;                    ///< input features with one scale; 0: all of them
  uint64_t block_rows = 128, block_columns = 128;  ///< of fp8
  bool double_quantized = false;                   ///< bitsandbytes: the scales are quantised too
};

/// What config.json's `quantization_config` says; nothing where there is none.
std::optional<Quantization> read_quantization(const ModelConfig& config);

/// Puts the tensors that the checkpoint stores for quantised weights in the place of the weights they stand
/// for: packed weights at their stored dtype and shape, with their scales, zero points and maps as tensors of
/// the module. A tensor whose shard is absent gets the shape that the method gives it, and sets
/// `tree.estimated_bytes` where that can be off (bitsandbytes' quant_state, whose length is that of a text).
/// Returns the number of weights that are quantised.
uint64_t use_stored_tensors(ModuleTree& tree, const Checkpoint& checkpoint, const Quantization& quantization);

}  // namespace hfload
