#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "core/load/loader.h"
#include "test/support/temp_directory.h"

namespace hfload::test {

struct SyntheticTensor {
  Device device;
  uint64_t elements = 0;
  Dtype file_dtype = Dtype::u8;
  Dtype memory_dtype = Dtype::u8;
  uint32_t shard = 0;
  uint64_t gap_before = 0;  ///< bytes of the shard that belong to no wanted tensor
};

/// Shards of random bytes on the disk, and by hand the plain data that parsers and planner would make of
/// them.
class SyntheticModel {
 public:
  /// `alignment` is that of tensors in their arenas.
  explicit SyntheticModel(const std::vector<SyntheticTensor>& tensors, uint64_t alignment = 256);

  std::string path(uint32_t shard) const { return directory_ / checkpoint.shards[shard].file; }
  const std::vector<std::byte>& contents(uint32_t shard) const { return contents_[shard]; }

  /// The bytes of a placement as its shard has them.
  std::span<const std::byte> file_bytes(const TensorPlacement& placement) const;

  /// What a placement's bytes have to be in memory, each element converted by the definition of its format.
  std::vector<std::byte> expected(const TensorPlacement& placement) const;

  /// The placements of a loaded model whose bytes are not what they should be.
  std::vector<std::string> wrong_tensors(const LoadedModel& model) const;

  Checkpoint checkpoint;
  ModuleTree tree;
  LoadPlan plan;

 private:
  void append_random(uint32_t shard, uint64_t bytes);

  /// NaN payloads are not the definition's business.
  void remove_nans(uint32_t shard, uint64_t begin, Dtype dtype);

  void add(const SyntheticTensor& wanted, uint64_t alignment);

  Arena& arena_of(Device device);

  TempDirectory directory_;
  std::vector<std::vector<std::byte>> contents_;
  std::mt19937_64 random_{7};
};

/// Host memory for the CPU, emulated GPUs with as much memory as the plan wants.
BackendFactory emulated_devices(const LoadPlan& plan);

/// A mix of devices, dtypes, sizes and gaps over two shards: what a loader may meet.
std::vector<SyntheticTensor> mixed_tensors();

}  // namespace hfload::test
