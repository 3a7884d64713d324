#include "core/load/storage_checks.h"

#include <algorithm>
#include <tuple>

namespace hfload {

std::vector<StorageCheck> find_storage_checks(const LoadPlan& plan, const Checkpoint& checkpoint) {
  std::vector<StorageCheck> storages;
  for (const TensorPlacement& placement : plan.placements) {
    const CheckpointTensor& tensor = checkpoint.tensors.at(placement.checkpoint);
    if (!tensor.view || !tensor.view->storage_crc) continue;
    const StorageView& view = *tensor.view;
    storages.push_back({tensor.shard, view.storage_begin, view.storage_end - view.storage_begin,
                        *view.storage_crc, placement.checkpoint});
  }
  const auto place = [](const StorageCheck& s) { return std::tuple(s.shard, s.begin, s.bytes); };
  std::ranges::stable_sort(storages, {}, place);
  const auto is_same = [&](const StorageCheck& a, const StorageCheck& b) { return place(a) == place(b); };
  storages.erase(std::unique(storages.begin(), storages.end(), is_same), storages.end());
  return storages;
}

Error wrong_checksum(const Checkpoint& checkpoint, const StorageCheck& storage) {
  return Error(ErrorCode::invalid_zip, "the checksum of the tensor's storage is wrong")
      .with_path(open_shard(checkpoint, storage.shard).path)
      .with_tensor(checkpoint.tensors.at(storage.tensor).name.str())
      .with_offset(storage.begin)
      .with_hint("The file is damaged: download or export it again.");
}

}  // namespace hfload
