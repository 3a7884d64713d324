#pragma once

#include "core/model/checkpoint.h"
#include "core/model/module_tree.h"

namespace hfload {

/// A shell for an architecture that is not in the registry: one module for every dotted component of the
/// tensors' names. Children that are all numbers are layers, in numeric order, of a class named after their
/// list ("model.layers.#"), and the outermost of them are not split. Other children stand embeddings first
/// and heads last, as models are mostly written. Floating-point tensors take `dtype`, unless the config says
/// that the checkpoint is quantised. A tensor whose name begins with another tensor's name and a dot belongs
/// to the module of that one, so that no name is both a module's and a tensor's. Tensors that no shard
/// describes share what remains of the index's total_size equally, norms and biases aside, at the size of
/// elements of `stored`, the dtype of the weights in the files. Throws Error(unsupported_architecture) when
/// there is no size to share.
ModuleTree tree_from_tensor_names(const Checkpoint& checkpoint, Dtype stored, Dtype dtype);

}  // namespace hfload
