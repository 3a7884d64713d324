#include "core/save/tensor_source.h"

namespace hfload {

std::unique_ptr<TensorSource> open_tensor_source(const Checkpoint& checkpoint) {
  // The one format whose elements are read so far; another one is chosen here by Shard::format.
  return open_safetensors_source(checkpoint);
}

}  // namespace hfload
