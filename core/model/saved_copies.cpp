#include "core/model/saved_copies.h"

#include <string_view>

namespace hfload {

std::vector<SavedCopy> find_saved_copies(const ModuleTree& tree, const Checkpoint& checkpoint,
                                         const KeyMatches& keys) {
  std::vector<SavedCopy> copies;
  if (keys.matches.size() == keys.shell_names.size()) return copies;
  constexpr uint32_t kNone = UINT32_MAX;
  std::vector<uint32_t> loaded(tree.tensors.size(), kNone);  // by object: into Checkpoint::tensors
  for (const KeyMatch& match : keys.matches) loaded[match.shell] = match.checkpoint;
  const TensorIndex index(tree);
  for (uint32_t i = 0; i < keys.shell_names.size(); ++i) {
    const std::string_view name = keys.shell_names[i];
    const TensorId id = name.empty() ? kNoId : index.find(name);
    if (id == kNoId || !tree.tensors[id].persistent) continue;
    const uint32_t other = loaded[tree.tensors[id].object];
    const CheckpointTensor& tensor = checkpoint.tensors[i];
    const bool is_mismatched = tensor.described && tensor.shape != tree.tensors[id].shape;
    if (other != kNone && other != i && !is_mismatched) copies.push_back({other, i});
  }
  return copies;
}

}  // namespace hfload
