#pragma once

#include <cstdint>
#include <vector>

#include "core/base/error.h"
#include "core/model/checkpoint.h"
#include "core/plan/load_plan.h"

namespace hfload {

/// A storage of a PyTorch zip archive, and the checksum that the archive has of it.
struct StorageCheck {
  uint32_t shard = 0;
  uint64_t begin = 0, bytes = 0;  ///< from the start of the shard
  uint32_t crc = 0;               ///< CRC-32
  uint32_t tensor = 0;            ///< one that lies in it, into Checkpoint::tensors
};

/// The storages of a plan's tensors, each once, by shard and offset; none of formats without checksums.
std::vector<StorageCheck> find_storage_checks(const LoadPlan& plan, const Checkpoint& checkpoint);

/// What to throw for a storage whose bytes have another CRC-32.
Error wrong_checksum(const Checkpoint& checkpoint, const StorageCheck& storage);

}  // namespace hfload
