#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/model/checkpoint.h"

namespace hfload {

/// Reads the header, or the state dict, of a shard whose format is read: its tensors in data order, and of
/// the shard what the header says of it. `key` is ModelLocation::state_dict_key. Oddities become warnings.
/// Throws what the format's parser throws, Error(usage) for a key that the format has no use for.
std::vector<CheckpointTensor> read_shard_tensors(Shard& shard, const RegularFile& file, std::string_view key,
                                                 std::vector<std::string>& warnings);

/// The format of a file by its first bytes: those of a safetensors header, of a zip archive or of a pickle.
/// Throws Error(lfs_pointer), and what reading throws.
ShardFormat format_of_start(const RegularFile& file);

/// Sets `same_as` of tensors that are the same elements of one storage of one shard.
void find_tied_storages(std::vector<CheckpointTensor>& tensors);

}  // namespace hfload
