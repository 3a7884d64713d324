#include "core/model/checkpoint.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "core/base/error.h"
#include "core/format/shard_index.h"
#include "core/model/index_advice.h"
#include "core/model/shard_tensors.h"

namespace hfload {
namespace {

std::string join_path(std::string_view directory, std::string_view name) {
  if (directory.empty()) return std::string(name);
  return directory.ends_with('/') ? fmt::format("{}{}", directory, name)
                                  : fmt::format("{}/{}", directory, name);
}

std::string file_name(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

bool is_index(std::string_view path) {
  const std::string name = file_name(path);
  return name.ends_with(".json") && name.find(".index.") != std::string::npos;
}

/// Reads and parses a JSON file; what goes wrong carries its path.
template <class Parse>
auto read_json(const std::string& path, uint64_t limit_bytes, Parse&& parse) {
  const RegularFile file = open_regular_file(path);
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

void find_unreadable(const Shard& shard, const std::vector<CheckpointTensor>& tensors,
                     std::vector<Finding>& findings) {
  std::vector<std::string> names;
  for (const CheckpointTensor& tensor : tensors) {
    if (tensor.unreadable) names.push_back(tensor.name.str());
  }
  if (names.empty()) return;
  const bool one = names.size() == 1;
  findings.push_back({error_code_info(ErrorCode::unsupported_format).name,
                      fmt::format("{}: {} tensor{} no plain one{}, and the values are not read", shard.file,
                                  names.size(), one ? " is" : "s are", one ? "" : "s"),
                      std::move(names)});
}

/// Adds the tensors of a shard that is there.
void read_shard(Checkpoint& checkpoint, uint32_t shard_index, const RegularFile& file,
                std::vector<Finding>* findings) {
  Shard& shard = checkpoint.shards[shard_index];
  std::vector<CheckpointTensor> described =
      read_shard_tensors(shard, file, checkpoint.location, checkpoint.warnings);
  if (findings != nullptr) find_unreadable(shard, described, *findings);
  checkpoint.tensors.reserve(checkpoint.tensors.size() + described.size());
  for (CheckpointTensor& tensor : described) {
    tensor.shard = shard_index;
    checkpoint.tensors.push_back(std::move(tensor));
  }
  shard.tensor_count += described.size();
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

/// Adds a shard of several, and its tensors where it is there and is read. Returns whether they were.
bool open_one_of_several(Checkpoint& checkpoint, const std::string& name, std::vector<Finding>* findings) {
  const auto number = static_cast<uint32_t>(checkpoint.shards.size());
  Shard& shard = checkpoint.shards.emplace_back();
  shard.file = name;
  shard.format = format_of_name(shard.file);
  try {
    const RegularFile file = open_shard(checkpoint, number);
    shard.present = true;
    shard.format = format_of_file(file, shard.file, checkpoint.warnings);
    shard.identity = file.identity;
    if (shard.is_read()) {
      read_shard(checkpoint, number, file, findings);
      return true;
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
  return false;
}

void open_indexed(Checkpoint& checkpoint, std::vector<Finding>* findings) {
  const ModelLocation& location = checkpoint.location;
  const ShardIndex index = read_shard_index(open_regular_file(location.weights_path));
  note(checkpoint.warnings, file_name(location.weights_path), index.notes);
  checkpoint.index_total_size_bytes = index.total_size_bytes;
  checkpoint.index_dtype = index.dtype;

  std::vector<std::vector<uint32_t>> entries_of(index.shards.size());
  for (uint32_t i = 0; i < index.weight_map.size(); ++i) entries_of[index.weight_map[i].shard].push_back(i);
  checkpoint.tensors.reserve(index.weight_map.size());
  for (uint32_t s = 0; s < index.shards.size(); ++s) {
    if (open_one_of_several(checkpoint, index.shards[s], findings)) continue;
    for (const uint32_t e : entries_of[s]) add_undescribed(checkpoint, index.weight_map[e].tensor, s);
  }
  compare_with_index(checkpoint, index, findings);
}

void open_single(Checkpoint& checkpoint, std::vector<Finding>* findings) {
  const std::string& path = checkpoint.location.weights_path;
  const RegularFile file = open_regular_file(path);
  Shard& shard = checkpoint.shards.emplace_back();
  shard.file = file_name(path);
  shard.format = format_of_file(file, shard.file, checkpoint.warnings);
  if (!shard.is_read() && checkpoint.location.is_file) throw unknown_format(file, checkpoint.has_config);
  shard.present = true;
  shard.identity = file.identity;
  if (shard.is_read()) {
    try {
      read_shard(checkpoint, 0, file, findings);
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
    checkpoint.config = read_json(location.config_path, kMaxConfigBytes, parse_model_config);
    checkpoint.config.set_path(location.config_path);
    checkpoint.has_config = true;
    note(checkpoint.warnings, file_name(location.config_path), checkpoint.config.notes());
  }
  checkpoint.warnings.insert(checkpoint.warnings.end(), location.notes.begin(), location.notes.end());
  if (location.obstacle) checkpoint.warnings.push_back(location.obstacle->message());
  if (location.weights_path.empty()) return checkpoint;
  if (!location.unindexed_shards.empty()) {
    for (const std::string& name : location.unindexed_shards) open_one_of_several(checkpoint, name, findings);
  } else if (is_index(location.weights_path)) {
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
        "{}: {} not stored contiguous and little-endian, or negated, '{}' for one: loading has to gather the "
        "elements, which takes longer (hfload convert writes them so that it does not)",
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

Error unreadable_tensor(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
  const std::string& directory = checkpoint.location.directory;
  return Error(
             ErrorCode::unsupported_format,
             fmt::format("the tensor is no plain one ({}), and its values are not read", tensor.dtype_name()))
      .with_path(join_path(directory, checkpoint.shards[tensor.shard].file))
      .with_tensor(tensor.name.str())
      .with_hint(
          "Leave it out with hfload convert --exclude, or make it dense with torch and save it again.");
}

void require_readable_tensors(const Checkpoint& checkpoint) {
  const auto odd = std::ranges::find(checkpoint.tensors, true, &CheckpointTensor::unreadable);
  if (odd != checkpoint.tensors.end()) throw unreadable_tensor(checkpoint, *odd);
}

StridedTensor stored_elements(const Checkpoint& checkpoint, const CheckpointTensor& tensor) {
  StridedTensor stored;
  stored.data_offset = checkpoint.shards[tensor.shard].data_start + tensor.begin;
  stored.shape = tensor.shape;
  stored.element_bytes = tensor.element_bytes();
  if (tensor.view) stored.swap_bytes = tensor.view->swap_bytes;
  if (tensor.view) stored.negation = tensor.view->negation;
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
  const Shard& described = checkpoint.shards[shard];
  return described.unpacked ? duplicate(*described.unpacked) : open_shard_file(checkpoint, shard);
}

RegularFile open_shard_file(const Checkpoint& checkpoint, uint32_t shard) {
  const ModelLocation& location = checkpoint.location;
  const bool is_single = location.unindexed_shards.empty() && !is_index(location.weights_path);
  const std::string path =
      is_single ? location.weights_path : join_path(location.directory, checkpoint.shards[shard].file);
  try {
    return open_regular_file(path);
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
