#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/model/checkpoint.h"
#include "core/model/module_tree.h"
#include "core/save/convert.h"
#include "core/save/tensor_source.h"

namespace hfload {

/// A tensor of the output: which of the source, and its name before renames.
struct Selected {
  uint32_t source = 0;
  std::unique_ptr<std::string> other_name;  ///< where it is not the source's
  /// Tensors of one number share their elements, where the format can say so.
  std::optional<uint64_t> same_elements = std::nullopt;

  std::string_view name(const TensorSource& from) const {
    return other_name ? std::string_view(*other_name) : from.tensor(source).name;
  }
};

/// The tensors of a checkpoint in the order of the model's state dict, those that the model does not know
/// last; in the source's order without a tree. `drop`: of parameters that the config ties, and that are saved
/// more than once with equal elements, only the first in the state dict is kept, as save_pretrained does;
/// unequal ones all stay, with a warning, and so do names that share elements without a tie of the config.
/// `duplicate`: every name that the config ties to a saved one is
/// added. The names go to plan.dropped and plan.duplicated. Throws what reading throws.
std::vector<Selected> select_tensors(const Checkpoint& checkpoint, const TensorSource& source,
                                     const ModuleTree* tree, TiedPolicy policy, ConvertPlan& plan);

}  // namespace hfload
