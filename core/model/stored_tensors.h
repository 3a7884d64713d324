#pragma once

#include <cstdint>

#include "core/model/checkpoint.h"
#include "core/model/module_tree.h"
#include "core/model/quantization.h"

namespace hfload {

/// Puts the tensors that the checkpoint stores for quantised weights in the place of the weights they stand
/// for: packed weights at their stored dtype and shape, with their scales, zero points and maps as tensors of
/// the module. A tensor whose shard is absent gets the shape that the method gives it (see stored_tensor),
/// and sets `tree.estimated_bytes` where that can be off. Returns the number of weights that are quantised.
/// Throws Error(invalid_config) for a tensor beyond 2^50 bytes.
uint64_t use_stored_tensors(ModuleTree& tree, const Checkpoint& checkpoint, const Quantization& quantization);

}  // namespace hfload
