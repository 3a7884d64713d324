#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "core/model/quantization.h"

namespace hfload {

/// A tensor that stands for a quantised weight, or for a part of it.
struct StoredTensor {
  Dtype dtype = Dtype::u8;
  std::vector<uint64_t> shape;
  bool is_exact = true;  ///< false where the size is a guess
};

/// What the method stores under the suffix ("weight", "qweight", "_blocks") for a weight of that shape and
/// dtype: (out_features, in_features), or, for mxfp4, (experts, in_features, out_features). Nothing where the
/// method has no such suffix. The layouts are those of bitsandbytes 0.50, AutoGPTQ 0.7, AutoAWQ 0.2,
/// compressed-tensors 0.20 and transformers 4.57's fp8 and mxfp4.
std::optional<StoredTensor> stored_tensor(const Quantization& quantization, std::string_view suffix,
                                          const std::vector<uint64_t>& weight_shape, Dtype weight_dtype);

}  // namespace hfload
