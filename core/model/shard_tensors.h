#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/model/checkpoint.h"

namespace hfload {

/// Reads the header, or the state dict, of a shard whose format is read: its tensors in data order, and of
/// the shard what the header says of it. Of `location` the key of the state dict and the temporary directory
/// count. Oddities become warnings. Throws what the format's parser throws, Error(usage) for a key that the
/// format has no use for, and what unpack_zip throws.
std::vector<CheckpointTensor> read_shard_tensors(Shard& shard, const RegularFile& file,
                                                 const ModelLocation& location,
                                                 std::vector<std::string>& warnings);

/// What a file's name says of its format; for a file that is not there.
ShardFormat format_of_name(std::string_view name);

/// The format of a file: by its first bytes, which are those of a safetensors header, of a zip archive or of
/// a pickle, and by its name where they say nothing. A warning says that the two differ. Throws
/// Error(unsupported_format) for a file of another known format under a name of one that is read, and what
/// reading throws.
ShardFormat format_of_file(const RegularFile& file, std::string_view name,
                           std::vector<std::string>& warnings);

/// What to throw for a file of which that is `other` and which is wanted: Error(unsupported_format,
/// lfs_pointer).
Error unknown_format(const RegularFile& file, bool has_config);

/// Sets `same_as` of tensors that are the same elements of one storage of one shard.
void find_tied_storages(std::vector<CheckpointTensor>& tensors);

}  // namespace hfload
