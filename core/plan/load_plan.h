#pragma once

#include <cstdint>
#include <vector>

#include "core/model/checkpoint.h"
#include "core/model/match_keys.h"
#include "core/model/module_tree.h"
#include "core/plan/device_map.h"

namespace hfload {

/// Where one tensor of the shell ends up. There may be 10^5 and more, while the memory beside the weights is
/// bounded.
struct TensorPlacement {
  TensorId tensor = kNoId;    ///< the first place of its object
  uint32_t checkpoint = 0;    ///< into Checkpoint::tensors
  uint64_t arena_offset = 0;  ///< bytes from the start of the device's arena; in_file: of the file
  uint64_t bytes = 0;         ///< in memory; in_file: in the file
  Device device;
  Dtype dtype = Dtype::f32;  ///< in memory
  bool in_file = false;  ///< stays in its shard, which is mapped: on the disk, or on the CPU without a copy
};

/// One block of memory per device, all tensors in it.
struct Arena {
  Device device;
  uint64_t bytes = 0;
};

/// Bytes of one shard that become bytes of one tensor.
struct CopyOperation {
  uint32_t shard = 0;
  uint32_t placement = 0;    ///< into LoadPlan::placements
  uint64_t file_offset = 0;  ///< bytes from the start of the shard
  uint64_t file_bytes = 0;
};

/// Everything a load does, as plain data: executed by the loader, tested without I/O.
struct LoadPlan {
  std::vector<Arena> arenas;  ///< one per device with weights, in device order; none for the disk
  std::vector<TensorPlacement> placements;  ///< disk ones included
  std::vector<CopyOperation> copies;        ///< by shard, then file offset; none for what stays in its file
  /// Into placements, by shard: tensors whose elements do not lie in the shard as they do in memory (strided,
  /// repeated, big-endian), and are gathered from there.
  std::vector<uint32_t> gathers;
  uint64_t copied_file_bytes = 0;  ///< sum over copies, and of the gathered tensors' elements
  uint64_t disk_bytes = 0;         ///< bytes on the disk, which stay in their files
  uint64_t mapped_bytes = 0;       ///< bytes on the CPU that stay in their files
};

/// Plans the load of all matched tensors. Tensors start at multiples of 256 bytes; a device whose budget has
/// no room for that padding gets its tensors packed by descending element size, which needs none. Throws
/// Error(unsupported_dtype) for a conversion that does not exist, Error(does_not_fit) when a device's tensors
/// are larger than its budget. With `map_cpu`, tensors on the CPU that lie in their files as they do in
/// memory stay there, as the safetensors package's do.
LoadPlan make_load_plan(const ModuleTree& tree, const Checkpoint& checkpoint, const KeyMatches& keys,
                        const DeviceMap& map, const MaxMemory& max_memory, bool map_cpu = false);

}  // namespace hfload
