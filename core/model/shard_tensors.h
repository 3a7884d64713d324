#pragma once

#include <string>
#include <vector>

#include "core/model/checkpoint.h"

namespace hfload {

/// Reads the header, or the state dict, of a shard whose format is read: its tensors in data order, and of
/// the shard what the header says of it. Oddities become warnings. Throws what the format's parser throws.
std::vector<CheckpointTensor> read_shard_tensors(Shard& shard, const RegularFile& file,
                                                 std::vector<std::string>& warnings);

/// Sets `same_as` of tensors that are the same elements of one storage of one shard.
void find_tied_storages(std::vector<CheckpointTensor>& tensors);

}  // namespace hfload
