#include "core/model/shard_tensors.h"

#include <fmt/core.h>

#include <algorithm>
#include <compare>
#include <tuple>

#include "core/base/checked.h"
#include "core/base/error.h"
#include "core/base/units.h"
#include "core/format/json.h"
#include "core/format/lfs_pointer.h"
#include "core/format/pickle_file_scan.h"
#include "core/format/safetensors.h"
#include "core/format/torch_file.h"
#include "core/format/zip_archive.h"
#include "core/format/zip_unpack.h"

namespace hfload {
namespace {

/// A format that is not read, by its first bytes.
struct OtherFormat {
  std::string_view start, name;
};

constexpr std::string_view kWhatIsRead =
    "hfload reads safetensors files and PyTorch checkpoints. Save the model as safetensors first, for "
    "example "
    "with save_pretrained of transformers.";

constexpr OtherFormat kOtherFormats[] = {
    {"GGUF", "a GGUF file"},
    {"\x89HDF\r\n\x1a\n", "an HDF5 file"},
    {"\x93NUMPY", "a NumPy array"},
};

/// "a GGUF file"; empty for what is not known.
std::string_view other_format(std::string_view start) {
  for (const OtherFormat& other : kOtherFormats) {
    if (start.starts_with(other.start)) return other.name;
  }
  return {};
}

std::string start_of(const RegularFile& file) {
  constexpr uint64_t kStartBytes = 64;
  std::string start(std::min(kStartBytes, file.identity.bytes), '\0');
  read_exactly(file, 0, std::as_writable_bytes(std::span(start)));
  return start;
}

/// A length that a header may have, and the brace or the white space that the header begins with.
bool starts_like_safetensors(std::string_view start) {
  constexpr size_t kPrefixBytes = 8;
  constexpr std::string_view kFirst = "{ \t\r\n";
  if (start.size() <= kPrefixBytes || kFirst.find(start[kPrefixBytes]) == std::string_view::npos)
    return false;
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
  view.negation = info.negation;
  return tensor;
}

/// Of the last `count` tensors.
void note_odd(size_t count, const std::vector<CheckpointTensor>& tensors, std::vector<std::string>& notes) {
  if (count == 0) return;
  const CheckpointTensor& first = tensors[tensors.size() - count];
  const bool one = count == 1;
  notes.push_back(
      fmt::format("{}, '{}' ({}) for one: the values are not read (hfload convert --exclude leaves {} out)",
                  one ? "a tensor is no plain one" : fmt::format("{} tensors are no plain ones", count),
                  json::shorten(first.name), first.dtype_name(), one ? "it" : "them"));
}

/// Unpacks an archive with deflated members, so that its storages can be read at any place. Returns false for
/// any other file.
bool unpack_deflated(Shard& shard, const RegularFile& file, const std::string& temporary_directory,
                     std::vector<std::string>& notes) {
  if (!is_zip(start_of(file))) return false;
  ZipArchive archive;
  try {
    archive = read_zip_archive(FileSource(file), ZipMethods::stored_and_deflated);
  } catch (const Error& error) {
    // The reader of PyTorch files says what is wrong.
    if (error.exit_status() == 3 || error.exit_status() == 4) return false;
    throw;
  }
  if (!has_deflated_members(archive)) return false;
  shard.unpacked = std::make_shared<const RegularFile>(unpack_zip(file, archive, temporary_directory));
  shard.identity = shard.unpacked->identity;
  notes.push_back(
      fmt::format("the archive's members are deflated: they were unpacked to {} in a temporary file, which "
                  "hfload convert makes unnecessary",
                  format_byte_size(static_cast<double>(shard.identity.bytes))));
  return true;
}

TorchFile read_torch_or_unpack(Shard& shard, const RegularFile& file, const ModelLocation& location,
                               std::vector<std::string>& notes) {
  try {
    return read_torch_file(file, location.state_dict_key);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::unsupported_format ||
        !unpack_deflated(shard, file, location.temporary_directory, notes))
      throw;
  }
  return read_torch_file(*shard.unpacked, location.state_dict_key);
}

std::vector<CheckpointTensor> read_torch(Shard& shard, const RegularFile& file, const ModelLocation& location,
                                         std::vector<std::string>& notes) {
  TorchFile torch = read_torch_or_unpack(shard, file, location, notes);
  notes.insert(notes.end(), torch.notes.begin(), torch.notes.end());
  std::vector<CheckpointTensor> tensors;
  tensors.reserve(torch.tensors.size());
  ShapeMaker make_shape;
  for (TorchTensor& info : torch.tensors) tensors.push_back(from_torch(info, torch, make_shape));
  std::ranges::stable_sort(tensors, {}, [](const CheckpointTensor& t) { return std::pair(t.begin, t.end); });
  for (TorchOddTensor& odd : torch.odd) {
    CheckpointTensor& tensor = tensors.emplace_back();
    tensor.name = std::move(odd.name);
    tensor.described = tensor.unreadable = true;
    tensor.other_dtype = std::move(odd.kind);
    tensor.shape = make_shape(odd.shape);
  }
  note_odd(torch.odd.size(), tensors, notes);
  return tensors;
}

}  // namespace

std::vector<CheckpointTensor> read_shard_tensors(Shard& shard, const RegularFile& file,
                                                 const ModelLocation& location,
                                                 std::vector<std::string>& warnings) {
  const bool is_torch = shard.format == ShardFormat::pytorch;
  if (!is_torch && !location.state_dict_key.empty()) {
    throw Error(ErrorCode::usage, "--key is for PyTorch checkpoints, and this is a safetensors file")
        .with_path(file.path)
        .with_hint("Its tensors are in no dict: do without --key.");
  }
  std::vector<std::string> notes;
  std::vector<CheckpointTensor> tensors =
      is_torch ? read_torch(shard, file, location, notes) : read_safetensors(shard, file, notes);
  for (const std::string& text : notes) warnings.push_back(fmt::format("{}: {}", shard.file, text));
  return tensors;
}

ShardFormat format_of_name(std::string_view name) {
  if (name.ends_with(".safetensors")) return ShardFormat::safetensors;
  if (name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth")) return ShardFormat::pytorch;
  return ShardFormat::other;
}

ShardFormat format_of_file(const RegularFile& file, std::string_view name,
                           std::vector<std::string>& warnings) {
  const std::string start = start_of(file);
  const ShardFormat named = format_of_name(name);
  ShardFormat found = named;
  if (starts_like_safetensors(start)) {
    found = ShardFormat::safetensors;
  } else if (is_zip(start) || starts_like_pickle(start)) {
    found = ShardFormat::pytorch;
  } else if (named != ShardFormat::other && !other_format(start).empty()) {
    throw Error(ErrorCode::unsupported_format,
                fmt::format("by its first bytes this is {}, whatever its name says", other_format(start)))
        .with_path(file.path)
        .with_hint(std::string(kWhatIsRead));
  }
  if (named != ShardFormat::other && named != found) {
    warnings.push_back(
        fmt::format("{}: by its first bytes this is {}, whatever its name says", name,
                    found == ShardFormat::pytorch ? "a PyTorch checkpoint" : "a safetensors file"));
  }
  return found;
}

Error unknown_format(const RegularFile& file, bool has_config) {
  const std::string start = start_of(file);
  try {
    refuse_lfs_pointer(start);
  } catch (Error& error) {
    return error.with_path(file.path);
  }
  const std::string_view known = other_format(start);
  return Error(ErrorCode::unsupported_format,
               known.empty() ? "the file is neither a safetensors file nor a PyTorch checkpoint"
                             : fmt::format("the file is {}", known))
      .with_path(file.path)
      .with_hint(has_config ? "hfload reads weights in these formats alone. Give the model directory to see "
                              "what its config.json says."
                            : std::string(kWhatIsRead));
}

void find_tied_storages(std::vector<CheckpointTensor>& tensors) {
  std::vector<uint32_t> views;
  for (uint32_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].view && tensors[i].bytes() != 0) views.push_back(i);
  }
  const auto compare = [&](uint32_t a, uint32_t b) {
    const CheckpointTensor &x = tensors[a], &y = tensors[b];
    const auto place = [](const CheckpointTensor& t) {
      return std::tuple(t.shard, t.view->storage_begin, t.begin, t.dtype, t.dtype_name(), t.view->negation);
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
