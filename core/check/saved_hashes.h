#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/file.h"
#include "core/check/tensor_scan.h"
#include "core/model/checkpoint.h"

namespace hfload {

/// Where a checkpoint is not what a file of hashes says, by the tensors' names.
struct HashDifferences {
  std::vector<std::string> differing;  ///< of another hash, dtype or shape
  std::vector<std::string> missing;    ///< of the file, and not in the checkpoint or not readable
  std::vector<std::string> fresh;      ///< of the checkpoint, and not in the file
};

/// What a file of hashes says of the tensors of a checkpoint, which must outlive it.
class SavedHashes {
 public:
  /// Throws as read_tensor_hashes.
  SavedHashes(const Checkpoint& checkpoint, const RegularFile& file);

  /// `statistics` are those of the checkpoint, by scan_tensors.
  HashDifferences compare(const std::vector<std::optional<TensorStatistics>>& statistics) const;

 private:
  struct Entry {
    uint64_t hash = 0;
    bool is_there = false;
    bool is_alike = false;  ///< dtype and shape are those of the checkpoint
  };

  const Checkpoint& checkpoint_;
  std::vector<Entry> entries_;          ///< by tensor of the checkpoint
  std::vector<std::string> strangers_;  ///< names that the checkpoint has not
};

}  // namespace hfload
