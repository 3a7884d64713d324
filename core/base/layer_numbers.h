#pragma once

#include <string>
#include <string_view>

namespace hfload {

/// A dotted name with every component that is a number replaced by `#`: "model.layers.#.mlp.up_proj.weight".
/// Tensors of several layers that are alike have one such name.
std::string fold_layer_numbers(std::string_view name);

}  // namespace hfload
