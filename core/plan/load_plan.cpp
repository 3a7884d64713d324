#include "core/plan/load_plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <map>
#include <tuple>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "core/base/units.h"

namespace hfload {
namespace {

constexpr uint64_t kTensorAlignment = 256;

bool is_castable(Dtype dtype) { return dtype == Dtype::f32 || dtype == Dtype::f16 || dtype == Dtype::bf16; }

void require_convertible(const CheckpointTensor& source, Dtype target, const Checkpoint& checkpoint) {
  const Shard& shard = checkpoint.shards[source.shard];
  if (source.unreadable) throw unreadable_tensor(checkpoint, source);
  if (source.dtype == Dtype::unknown) {
    throw Error(ErrorCode::unsupported_dtype,
                fmt::format("the dtype '{}' is not known to this version", source.dtype_name()))
        .with_path(shard.file)
        .with_tensor(source.name.str())
        .with_offset(shard.data_start + source.begin);
  }
  if (source.dtype == target || (is_castable(source.dtype) && is_castable(target))) return;
  throw Error(ErrorCode::unsupported_dtype,
              fmt::format("cannot convert {} to {}", dtype_info(source.dtype).safetensors_name,
                          dtype_info(target).safetensors_name))
      .with_path(shard.file)
      .with_tensor(source.name.str())
      .with_offset(shard.data_start + source.begin)
      .with_hint("Conversions are among float32, float16 and bfloat16; choose another --dtype.");
}

/// Gives every tensor of one device its place in the arena, and returns the arena's bytes.
uint64_t lay_out(std::vector<TensorPlacement*> tensors, uint64_t alignment) {
  uint64_t offset = 0;
  if (alignment == 1) {
    // In descending element size, every tensor ends on a multiple of the next one's element size.
    std::ranges::stable_sort(tensors, std::greater{},
                             [](const TensorPlacement* p) { return dtype_info(p->dtype).bits; });
  }
  for (TensorPlacement* p : tensors) {
    p->arena_offset = align_up(offset, alignment);
    offset = p->arena_offset + p->bytes;
  }
  return offset;
}

}  // namespace

LoadPlan make_load_plan(const ModuleTree& tree, const Checkpoint& checkpoint, const KeyMatches& keys,
                        const DeviceMap& map, const MaxMemory& max_memory, bool map_cpu) {
  LoadPlan plan;
  const DeviceMapLookup lookup(map);
  plan.placements.reserve(keys.matches.size());
  NameMaker make_name(tree.names);
  for (const KeyMatch& match : keys.matches) {
    const ShellTensor& target = tree.tensors[match.shell];
    const CheckpointTensor& source = checkpoint.tensors[match.checkpoint];
    const Device* device = lookup.find(make_name(target.module, target.name));
    if (device == nullptr) {
      throw Error(ErrorCode::device_map_incomplete, "the device map gives no device for a tensor")
          .with_tensor(tree.tensor_name(target));
    }
    require_convertible(source, target.dtype, checkpoint);
    TensorPlacement placement;
    placement.tensor = match.shell;
    placement.checkpoint = match.checkpoint;
    placement.device = *device;
    const bool is_on_disk = *device == Device::disk();
    const bool is_as_in_memory = source.dtype == target.dtype && source.is_in_place();
    if (is_on_disk || (map_cpu && *device == Device::cpu() && is_as_in_memory)) {
      placement.in_file = true;
      placement.dtype = source.dtype;
      placement.bytes = source.bytes();
      placement.arena_offset = checkpoint.shards[source.shard].data_start + source.begin;
      (is_on_disk ? plan.disk_bytes : plan.mapped_bytes) += placement.bytes;
    } else {
      placement.dtype = target.dtype;
      // A dtype that is not converted keeps the file's bytes, also where its elements are smaller than a
      // byte.
      placement.bytes = source.dtype == target.dtype ? source.bytes() : shell_tensor_bytes(target);
    }
    plan.placements.push_back(placement);
  }

  const auto by_position = [&](const TensorPlacement& a, const TensorPlacement& b) {
    const CheckpointTensor& x = checkpoint.tensors[a.checkpoint];
    const CheckpointTensor& y = checkpoint.tensors[b.checkpoint];
    const auto key = [](const CheckpointTensor& t) {
      return std::tuple(t.shard, t.begin, t.end, t.name.view());
    };
    return key(x) < key(y);
  };
  // Mostly they are, as matches stand in checkpoint order.
  if (!std::ranges::is_sorted(plan.placements, by_position)) std::ranges::sort(plan.placements, by_position);

  std::map<Device, std::vector<TensorPlacement*>> by_device;
  for (TensorPlacement& p : plan.placements) {
    if (!p.in_file) by_device[p.device].push_back(&p);
  }
  for (auto& [device, tensors] : by_device) {
    uint64_t bytes = lay_out(tensors, kTensorAlignment);
    const auto budget = std::ranges::find(max_memory, device, &DeviceMemory::device);
    if (budget != max_memory.end() && static_cast<double>(bytes) > budget->bytes) {
      bytes = lay_out(tensors, 1);
      if (static_cast<double>(bytes) > budget->bytes) {
        throw Error(ErrorCode::does_not_fit,
                    fmt::format("the weights for device {} take {} bytes ({}), its budget is {:.0f} ({})",
                                to_string(device), bytes, format_byte_size(static_cast<double>(bytes)),
                                budget->bytes, format_byte_size(budget->bytes)))
            .with_hint("Raise the device's budget in --max-memory, or place fewer modules on it.");
      }
    }
    plan.arenas.push_back({device, bytes});
  }

  const auto is_read = [&](const TensorPlacement& p) {
    return !p.in_file && checkpoint.tensors[p.checkpoint].bytes() != 0;
  };
  plan.copies.reserve(static_cast<size_t>(std::ranges::count_if(plan.placements, is_read)));
  for (uint32_t i = 0; i < plan.placements.size(); ++i) {
    const TensorPlacement& p = plan.placements[i];
    const CheckpointTensor& source = checkpoint.tensors[p.checkpoint];
    if (!is_read(p)) continue;
    plan.copied_file_bytes += source.bytes();
    if (!source.is_in_place()) {
      plan.gathers.push_back(i);
      continue;
    }
    plan.copies.push_back(
        {source.shard, i, checkpoint.shards[source.shard].data_start + source.begin, source.bytes()});
  }
  return plan;
}

}  // namespace hfload
