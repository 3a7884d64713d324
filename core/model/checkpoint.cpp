#include "core/model/checkpoint.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "core/base/error.h"
#include "core/format/shard_index.h"
#include "core/model/shard_tensors.h"

namespace hfload {
namespace {

std::string join_path(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  return directory.ends_with('/') ? fmt::format("{}{}", directory, name)
                                  : fmt::format("{}/{}", directory, name);
}

std::string file_name(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

ShardFormat format_of(std::string_view file) {
  if (file.ends_with(".safetensors")) return ShardFormat::safetensors;
  if (file.ends_with(".bin") || file.ends_with(".pt") || file.ends_with(".pth")) return ShardFormat::pytorch;
  return ShardFormat::other;
}

bool is_index(std::string_view path) {
  const std::string name = file_name(path);
  return name.ends_with(".json") && name.find(".index.") != std::string::npos;
}

/// A path as the user or the fixed file names gave it, or below the trust root when it lies there.
RegularFile open_below(const ModelLocation& location, const std::string& path) {
  const std::string root = join_path(location.trust_root, "");
  if (!location.trust_root.empty() && path.starts_with(root)) {
    return open_regular_file_beneath(location.trust_root, path.substr(root.size()));
  }
  return open_regular_file(path);
}

/// Reads and parses a JSON file; what goes wrong carries its path.
template <class Parse>
auto read_json(const ModelLocation& location, const std::string& path, uint64_t limit_bytes, Parse&& parse) {
  const RegularFile file = open_below(location, path);
  try {
    return parse(read_text_file(file, limit_bytes));
  } catch (Error& e) {
    if (e.path().empty()) e.with_path(path);
    throw;
  }
}

void note(std::vector<std::string>& warnings, std::string_view file, const std::vector<std::string>& notes) {
  for (const std::string& text : notes) warnings.push_back(fmt::format("{}: {}", file, text));
}

/// The tensors that an index places in one shard.
class Wanted {
 public:
  /// `entries` are indices into the weight map, in its order.
  Wanted(const std::vector<WeightMapEntry>& weight_map, const std::vector<uint32_t>& entries)
      : weight_map_(weight_map), by_name_(entries), found_(entries.size(), false) {
    std::ranges::sort(by_name_, {}, [&](uint32_t e) -> std::string_view { return weight_map[e].tensor; });
  }

  /// Whether the index places it here; it counts as found from now on.
  bool find(std::string_view tensor) {
    const size_t at = position_of(tensor);
    if (at == by_name_.size() || weight_map_[by_name_[at]].tensor != tensor) return false;
    found_[at] = true;
    return true;
  }
  bool was_found(std::string_view tensor) const { return found_[position_of(tensor)]; }

 private:
  size_t position_of(std::string_view tensor) const {
    const auto name_of = [&](uint32_t e) -> std::string_view { return weight_map_[e].tensor; };
    return static_cast<size_t>(std::ranges::lower_bound(by_name_, tensor, {}, name_of) - by_name_.begin());
  }

  const std::vector<WeightMapEntry>& weight_map_;
  std::vector<uint32_t> by_name_;
  std::vector<bool> found_;  ///< parallel to by_name_
};

/// Adds the tensors of a shard that is there. `wanted` are the tensors that the index expects in it; null
/// where there is no index, and all are wanted.
void read_shard(Checkpoint& checkpoint, uint32_t shard_index, const RegularFile& file, Wanted* wanted,
                std::vector<Finding>* findings) {
  Shard& shard = checkpoint.shards[shard_index];
  std::vector<CheckpointTensor> described =
      read_shard_tensors(shard, file, checkpoint.location.state_dict_key, checkpoint.warnings);
  std::vector<std::string> not_in_index;
  if (wanted == nullptr) checkpoint.tensors.reserve(checkpoint.tensors.size() + described.size());
  for (CheckpointTensor& tensor : described) {
    if (wanted != nullptr && !wanted->find(tensor.name)) {
      not_in_index.push_back(tensor.name.str());
      continue;
    }
    tensor.shard = shard_index;
    checkpoint.tensors.push_back(std::move(tensor));
    ++shard.tensor_count;
  }
  if (not_in_index.empty()) return;
  const bool one = not_in_index.size() == 1;
  if (findings != nullptr) {
    findings->push_back({"unindexed_tensors",
                         fmt::format("{}: the shard holds {} tensor{} that the index does not place in it",
                                     shard.file, not_in_index.size(), one ? "" : "s"),
                         std::move(not_in_index)});
    return;
  }
  checkpoint.warnings.push_back(
      fmt::format("{}: {} tensor{} that the index does not place in this shard {} left out, "
                  "'{}' for one",
                  shard.file, not_in_index.size(), one ? "" : "s", one ? "is" : "are", not_in_index.front()));
}

Finding finding_of(const Shard& shard, const Error& error) {
  Finding finding{error_code_info(error.code()).name,
                  fmt::format("{}: {}", shard.file, error.message()),
                  {},
                  error.hint()};
  if (!error.tensor().empty()) finding.names.push_back(error.tensor());
  return finding;
}

/// Whether the fault is one of the file's content, which other shards may not have.
bool is_of_content(const Error& error) { return error.exit_status() == 3 || error.exit_status() == 4; }

/// A tensor of which only the index tells.
void add_undescribed(Checkpoint& checkpoint, CompactString name, uint32_t shard) {
  CheckpointTensor tensor;
  tensor.name = std::move(name);
  tensor.shard = shard;
  checkpoint.tensors.push_back(std::move(tensor));
  ++checkpoint.shards[shard].tensor_count;
}

void open_indexed(Checkpoint& checkpoint, std::vector<Finding>* findings) {
  const ModelLocation& location = checkpoint.location;
  ShardIndex index = read_shard_index(open_below(location, location.weights_path));
  note(checkpoint.warnings, file_name(location.weights_path), index.notes);
  checkpoint.index_total_size_bytes = index.total_size_bytes;
  checkpoint.index_dtype = index.dtype;

  std::vector<std::vector<uint32_t>> entries_of(index.shards.size());
  for (uint32_t i = 0; i < index.weight_map.size(); ++i) entries_of[index.weight_map[i].shard].push_back(i);

  checkpoint.tensors.reserve(index.weight_map.size());
  for (uint32_t s = 0; s < index.shards.size(); ++s) {
    Shard& shard = checkpoint.shards.emplace_back();
    shard.file = index.shards[s];
    shard.format = format_of(shard.file);
    try {
      const RegularFile file = open_shard(checkpoint, s);
      shard.present = true;
      shard.identity = file.identity;
      if (shard.is_read()) {
        Wanted wanted(index.weight_map, entries_of[s]);
        read_shard(checkpoint, s, file, &wanted, findings);
        std::vector<std::string> absent;
        for (const uint32_t e : entries_of[s]) {
          const CompactString& name = index.weight_map[e].tensor;
          if (wanted.was_found(name)) continue;
          if (findings != nullptr) {
            add_undescribed(checkpoint, name, s);
            absent.push_back(name.str());
            continue;
          }
          throw Error(ErrorCode::tensor_not_in_shard,
                      "the index places a tensor in this shard that it does not hold")
              .with_path(join_path(location.directory, shard.file))
              .with_tensor(name.str())
              .with_hint("The index and the shards are of different versions; download both again.");
        }
        if (!absent.empty()) {
          shard.damaged = true;
          findings->push_back({error_code_info(ErrorCode::tensor_not_in_shard).name,
                               fmt::format("{}: the shard lacks {} tensor{} that the index places in it",
                                           shard.file, absent.size(), absent.size() == 1 ? "" : "s"),
                               std::move(absent)});
        }
        // From here on the checkpoint has the names.
        for (const uint32_t e : entries_of[s]) index.weight_map[e].tensor = {};
        continue;
      }
      if (findings != nullptr) {
        findings->push_back(
            {error_code_info(ErrorCode::unsupported_format).name,
             fmt::format("{}: the shard is neither a safetensors file nor a PyTorch checkpoint", shard.file),
             {},
             "Save the model as safetensors first, for example with save_pretrained of transformers."});
      }
    } catch (const Error& e) {
      const bool is_missing = e.code() == ErrorCode::shard_missing;
      if (!is_missing && (findings == nullptr || !is_of_content(e))) throw;
      shard.damaged = !is_missing;
      if (findings != nullptr) findings->push_back(finding_of(shard, e));
    }
    for (const uint32_t e : entries_of[s])
      add_undescribed(checkpoint, std::move(index.weight_map[e].tensor), s);
  }
}

/// The format that the first bytes of a file tell. The user means the file itself, whatever its name is.
/// Throws Error(unsupported_format, lfs_pointer).
ShardFormat require_known_start(const ModelLocation& location, const RegularFile& file) {
  const ShardFormat format = format_of_start(file);
  if (format != ShardFormat::other) return format;
  throw Error(ErrorCode::unsupported_format,
              "the file is neither a safetensors file nor a PyTorch checkpoint")
      .with_path(file.path)
      .with_hint(
          location.config_path.empty()
              ? "hfload reads weights in these formats alone. Save the model as safetensors first, for "
                "example with save_pretrained of transformers."
              : "hfload reads weights in these formats alone. Give the model directory to see what its "
                "config.json says.");
}

void open_single(Checkpoint& checkpoint, std::vector<Finding>* findings) {
  const std::string& path = checkpoint.location.weights_path;
  const RegularFile file = open_below(checkpoint.location, path);
  Shard& shard = checkpoint.shards.emplace_back();
  shard.file = file_name(path);
  shard.format = format_of(shard.file);
  const bool is_named_by_user = checkpoint.location.trust_root.empty();
  if (!shard.is_read() && is_named_by_user) shard.format = require_known_start(checkpoint.location, file);
  shard.present = true;
  shard.identity = file.identity;
  if (shard.is_read()) {
    try {
      read_shard(checkpoint, 0, file, nullptr, findings);
    } catch (const Error& e) {
      // One file of which nothing can be read leaves nothing to find.
      if (findings == nullptr || e.exit_status() != 3) throw;
      shard.damaged = true;
      findings->push_back(finding_of(shard, e));
    }
  } else {
    checkpoint.warnings.push_back(
        fmt::format("{}: this version reads no such format, so its tensors are not listed", shard.file));
  }
}

Checkpoint open_and_check(const ModelLocation& location, std::vector<Finding>* findings) {
  Checkpoint checkpoint;
  checkpoint.location = location;
  if (!location.config_path.empty()) {
    checkpoint.config = read_json(location, location.config_path, kMaxConfigBytes, parse_model_config);
    checkpoint.config.set_path(location.config_path);
    checkpoint.has_config = true;
    note(checkpoint.warnings, file_name(location.config_path), checkpoint.config.notes());
  }
  if (location.weights_path.empty()) return checkpoint;
  if (is_index(location.weights_path)) {
    open_indexed(checkpoint, findings);
  } else {
    open_single(checkpoint, findings);
  }
  find_tied_storages(checkpoint.tensors);
  return checkpoint;
}

}  // namespace

std::vector<std::string> Checkpoint::load_warnings() const {
  struct Elsewhere {
    uint64_t count = 0;
    std::string_view first;
  };
  std::vector<Elsewhere> by_shard(shards.size());
  for (const CheckpointTensor& t : tensors) {
    if (!t.is_in_place() && by_shard[t.shard].count++ == 0) by_shard[t.shard].first = t.name;
  }
  std::vector<std::string> found;
  for (size_t s = 0; s < shards.size(); ++s) {
    const auto& [count, first] = by_shard[s];
    if (count == 0) continue;
    found.push_back(fmt::format(
        "{}: {} not stored contiguous and little-endian, '{}' for one: loading has to gather the elements, "
        "which takes longer (hfload convert writes them so that it does not)",
        shards[s].file, count == 1 ? "a tensor is" : fmt::format("{} tensors are", count), first));
  }
  return found;
}

uint64_t Checkpoint::described_bytes() const {
  uint64_t total = 0;
  for (const CheckpointTensor& t : tensors) {
    if (!t.repeats_another()) total += t.bytes();
  }
  return total;
}

bool Checkpoint::complete() const {
  return std::ranges::all_of(shards, [](const Shard& s) { return s.present && !s.damaged && s.is_read(); });
}

const Shard* Checkpoint::first_missing_shard() const {
  const auto it = std::ranges::find(shards, false, &Shard::present);
  return it == shards.end() ? nullptr : &*it;
}

Checkpoint open_checkpoint(const ModelLocation& location) { return open_and_check(location, nullptr); }

Checkpoint open_damaged_checkpoint(const ModelLocation& location, std::vector<Finding>& findings) {
  return open_and_check(location, &findings);
}

StridedTensor stored_elements(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
  StridedTensor stored;
  stored.data_offset = checkpoint.shards[tensor.shard].data_start + tensor.begin;
  stored.shape = tensor.shape;
  stored.element_bytes = tensor.element_bytes();
  if (tensor.view) stored.swap_bytes = tensor.view->swap_bytes;
  if (tensor.view && tensor.view->strides) {
    stored.strides = *tensor.view->strides;
    return stored;
  }
  stored.strides.resize(tensor.shape.size());
  uint64_t stride = 1;
  for (size_t i = tensor.shape.size(); i-- > 0;) {
    stored.strides[i] = stride;
    stride *= tensor.shape[i];
  }
  return stored;
}

RegularFile open_shard(const Checkpoint& checkpoint, uint32_t shard) {
  const ModelLocation& location = checkpoint.location;
  const std::string path = join_path(location.directory, checkpoint.shards[shard].file);
  try {
    if (!is_index(location.weights_path)) return open_below(location, location.weights_path);
    return open_below(location, path);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::not_found) throw;
    throw Error(ErrorCode::shard_missing, "this shard of the checkpoint does not exist")
        .with_path(path)
        .with_hint("Download the missing weights, or use `plan`, which needs none.");
  }
}

RegularFile reopen_shard(const Checkpoint& checkpoint, uint32_t shard) {
  RegularFile file = open_shard(checkpoint, shard);
  if (!is_same_state(file.identity, checkpoint.shards.at(shard).identity, is_on_network_file_system(file))) {
    throw Error(ErrorCode::changed_during_read,
                "the file was replaced or written to after its header was read")
        .with_path(file.path)
        .with_hint("Wait until nothing writes to the file and run the command again.");
  }
  return file;
}

}  // namespace hfload
