#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/text_pool.h"
#include "core/model/checkpoint.h"
#include "core/model/module_tree.h"

namespace hfload {

/// A tensor of the shell and the tensor of the checkpoint that fills it.
struct KeyMatch {
  TensorId shell = kNoId;   ///< always the first place of its object
  uint32_t checkpoint = 0;  ///< into Checkpoint::tensors
};

struct MismatchedKey {
  std::string name;
  std::vector<uint64_t> checkpoint_shape, model_shape;
};

/// The names that do not match, each list sorted.
struct KeyLists {
  std::vector<std::string> missing_keys;       ///< the model's names
  std::vector<std::string> unexpected_keys;    ///< the checkpoint's names
  std::vector<MismatchedKey> mismatched_keys;  ///< by name
};

/// What from_pretrained of transformers 4.57 finds on comparing shell and checkpoint, which must outlive it.
struct KeyMatches : KeyLists {
  std::vector<KeyMatch> matches;  ///< in checkpoint order; shapes agree; each shell object at most once
  /// By checkpoint tensor: the model's name for it; empty for one left out. Texts of the checkpoint or
  /// of `made_names`.
  std::vector<std::string_view> shell_names;
  std::unique_ptr<TextPool> made_names = std::make_unique<TextPool>();
  std::vector<std::pair<std::string, std::string>> renamed_keys;  ///< legacy name, modern name
};

/// Compares by the rules of transformers 4.57: legacy names (LayerNorm.gamma), base_model_prefix added or
/// taken off, tied parameters of which one is present, patterns to ignore, non-persistent buffers. Throws
/// Error(corrupted_state_dict).
KeyMatches match_keys(const ModuleTree& tree, const Checkpoint& checkpoint);

/// By the rules of transformers 5 (`tie_weights` with the missing keys of a load), a parameter that the
/// config ties to another is not tied where the checkpoint holds both: makes each of those an object of its
/// own and returns their names. transformers 5 still ties two that are equal; here they stay two, which
/// differ in no value. Does nothing by the rules of transformers 4, which ties them and drops what was saved.
std::vector<std::string> untie_saved_parameters(ModuleTree& tree, const Checkpoint& checkpoint);

}  // namespace hfload
