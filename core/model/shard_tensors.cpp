#include "core/model/shard_tensors.h"

#include <fmt/core.h>

#include <algorithm>
#include <compare>
#include <tuple>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "core/format/lfs_pointer.h"
#include "core/format/pickle_file_scan.h"
#include "core/format/safetensors.h"
#include "core/format/torch_file.h"
#include "core/format/zip_archive.h"

namespace hfload {
namespace {

/// A length that a header may have, and the brace that the header begins with.
bool starts_like_safetensors(std::string_view start) {
  constexpr size_t kPrefixBytes = 8;
  if (start.size() <= kPrefixBytes || start[kPrefixBytes] != '{') return false;
  uint64_t header_bytes = 0;
  for (size_t i = kPrefixBytes; i-- > 0;)
    header_bytes = header_bytes << 8 | static_cast<unsigned char>(start[i]);
  return header_bytes <= kMaxSafetensorsHeaderBytes;
}

std::vector<CheckpointTensor> read_safetensors(Shard& shard, const RegularFile& file,
                                               std::vector<std::string>& notes) {
  SafetensorsHeader header = read_safetensors_header(file);
  notes = std::move(header.notes);
  shard.data_start = header.data_start;
  shard.metadata = std::move(header.metadata);
  std::vector<CheckpointTensor> tensors;
  tensors.reserve(header.tensors.size());
  for (TensorInfo& info : header.tensors) {
    CheckpointTensor& tensor = tensors.emplace_back();
    tensor.name = std::move(info.name);
    tensor.described = true;
    tensor.dtype = info.dtype;
    tensor.other_dtype = std::move(info.other_dtype);
    tensor.shape = std::move(info.shape);
    tensor.begin = info.begin;
    tensor.end = info.end;
  }
  return tensors;
}

CheckpointTensor from_torch(TorchTensor& info, const TorchFile& torch, ShapeMaker& make_shape) {
  const TorchStorage& storage = torch.storages[info.storage];
  CheckpointTensor tensor;
  tensor.name = std::move(info.name);
  tensor.described = true;
  tensor.dtype = info.dtype->dtype;
  if (tensor.dtype == Dtype::unknown) tensor.other_dtype = std::string(info.dtype->name);
  tensor.shape = make_shape(info.shape);
  tensor.begin = info.data_offset(storage);
  const std::optional<uint64_t> end = checked_add(tensor.begin, info.bytes);
  if (!end)
    throw Error(ErrorCode::shape_overflow, "the size of the tensor does not fit in 64 bits")
        .with_tensor(tensor.name.str());
  tensor.end = *end;
  StorageView& view = tensor.view.emplace();
  view.storage_begin = storage.data_offset;
  view.storage_end = storage.data_offset + storage.bytes;
  view.storage_crc = storage.crc;
  if (!info.contiguous) view.strides = Shape(info.strides);
  view.element_bytes = static_cast<uint8_t>(info.dtype->element_bytes);
  view.swap_bytes = static_cast<uint8_t>(torch.big_endian ? info.dtype->swap_bytes : 1);
  return tensor;
}

std::vector<CheckpointTensor> read_torch(const RegularFile& file, std::string_view key,
                                         std::vector<std::string>& notes) {
  TorchFile torch = read_torch_file(file, key);
  notes = std::move(torch.notes);
  std::vector<CheckpointTensor> tensors;
  tensors.reserve(torch.tensors.size());
  ShapeMaker make_shape;
  for (TorchTensor& info : torch.tensors) tensors.push_back(from_torch(info, torch, make_shape));
  std::ranges::stable_sort(tensors, {}, [](const CheckpointTensor& t) { return std::pair(t.begin, t.end); });
  return tensors;
}

}  // namespace

std::vector<CheckpointTensor> read_shard_tensors(Shard& shard, const RegularFile& file, std::string_view key,
                                                 std::vector<std::string>& warnings) {
  const bool is_torch = shard.format == ShardFormat::pytorch;
  if (!is_torch && !key.empty()) {
    throw Error(ErrorCode::usage, "--key is for PyTorch checkpoints, and this is a safetensors file")
        .with_path(file.path)
        .with_hint("Its tensors are in no dict: do without --key.");
  }
  std::vector<std::string> notes;
  std::vector<CheckpointTensor> tensors =
      is_torch ? read_torch(file, key, notes) : read_safetensors(shard, file, notes);
  for (const std::string& text : notes) warnings.push_back(fmt::format("{}: {}", shard.file, text));
  return tensors;
}

ShardFormat format_of_start(const RegularFile& file) {
  constexpr uint64_t kStartBytes = 64;
  std::string start(std::min(kStartBytes, file.identity.bytes), '\0');
  read_exactly(file, 0, std::as_writable_bytes(std::span(start)));
  try {
    refuse_lfs_pointer(start);
  } catch (Error& error) {
    error.with_path(file.path);
    throw;
  }
  if (starts_like_safetensors(start)) return ShardFormat::safetensors;
  return is_zip(start) || starts_like_pickle(start) ? ShardFormat::pytorch : ShardFormat::other;
}

void find_tied_storages(std::vector<CheckpointTensor>& tensors) {
  std::vector<uint32_t> views;
  for (uint32_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].view && tensors[i].bytes() != 0) views.push_back(i);
  }
  const auto compare = [&](uint32_t a, uint32_t b) {
    const CheckpointTensor &x = tensors[a], &y = tensors[b];
    const auto place = [](const CheckpointTensor& t) {
      return std::tuple(t.shard, t.view->storage_begin, t.begin, t.dtype, t.dtype_name());
    };
    if (const auto order = place(x) <=> place(y); order != 0) return order;
    const auto dimensions = [](const auto& p, const auto& q) {
      return std::lexicographical_compare_three_way(p.begin(), p.end(), q.begin(), q.end());
    };
    if (const auto order = dimensions(x.shape, y.shape); order != 0) return order;
    const auto strides = [](const CheckpointTensor& t) {
      return t.view->strides ? *t.view->strides : Shape();
    };
    return dimensions(strides(x), strides(y));
  };
  std::ranges::stable_sort(views, [&](uint32_t a, uint32_t b) { return compare(a, b) < 0; });
  for (size_t first = 0, i = 1; i < views.size(); ++i) {
    if (compare(views[first], views[i]) == 0) {
      tensors[views[i]].view->same_as = views[first];
    } else {
      first = i;
    }
  }
}

}  // namespace hfload
