#pragma once

// The shards' headers say what tensors there are; the index is advice. This holds the two against each other.

#include <vector>

#include "core/format/shard_index.h"
#include "core/model/checkpoint.h"
#include "core/model/finding.h"

namespace hfload {

/// Takes each name of `checkpoint.tensors` once: of tensors of one name in several shards the one of the last
/// shard stays, as in transformers, where shards are loaded one after the other; one that a header describes
/// stays before one that only the index names. Says where the index is wrong: names that no shard has,
/// tensors in another shard than it says, tensors that it does not name (CheckpointTensor::unindexed).
/// Findings where `findings` is there, else warnings of the checkpoint.
void compare_with_index(Checkpoint& checkpoint, const ShardIndex& index, std::vector<Finding>* findings);

}  // namespace hfload
