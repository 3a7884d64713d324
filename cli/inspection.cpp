#include "cli/inspection.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "core/base/checked.h"
#include "core/base/glob.h"
#include "core/base/layer_numbers.h"
#include "core/base/name_hash.h"
#include "core/model/match_keys.h"
#include "core/model/quantization.h"

namespace hfload::cli {
namespace {

void append(std::vector<std::string>& to, const std::vector<std::string>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

InspectedTensor from_header(const CheckpointTensor& tensor) {
  InspectedTensor row;
  row.name = tensor.name;
  row.shard = tensor.shard;
  row.described = tensor.described;
  if (!tensor.described) return row;
  row.dtype = tensor.dtype_name();
  row.shape = tensor.shape;
  row.parameters = element_count(tensor.shape).value_or(0);
  row.bytes = tensor.bytes();
  row.begin = tensor.begin;
  row.end = tensor.end;
  row.in_place = tensor.is_in_place();
  row.repeats = tensor.repeats_another();
  return row;
}

void describe_by_shell(InspectedTensor& row, const ShellTensor& tensor) {
  row.dtype = dtype_info(tensor.dtype).safetensors_name;
  row.shape = tensor.shape;
  row.parameters = element_count(tensor.shape).value_or(0);
  row.bytes = shell_tensor_bytes(tensor);
}

/// What save_pretrained would write of an empty shell: each persistent tensor once.
std::vector<InspectedTensor> rows_of_shell(const ModuleTree& tree) {
  std::vector<InspectedTensor> rows;
  for (TensorId id = 0; id < tree.tensors.size(); ++id) {
    const ShellTensor& tensor = tree.tensors[id];
    if (tensor.object != id || !tensor.persistent) continue;
    InspectedTensor& row = rows.emplace_back();
    row.name = tree.texts->add(tree.tensor_name(tensor));
    describe_by_shell(row, tensor);
  }
  return rows;
}

/// Dtypes and shapes of tensors that only the index names, where the model's shell knows them. A tree made
/// from names, and names that do not fit the shell (which is a finding), say nothing about the files.
void describe_absent(std::vector<InspectedTensor>& rows, const Shell& shell, const Checkpoint& checkpoint) {
  if (shell.tree.from_tensor_names) return;
  try {
    for (const KeyMatch& match : match_keys(shell.tree, checkpoint).matches) {
      InspectedTensor& row = rows[match.checkpoint];
      if (!row.described) describe_by_shell(row, shell.tree.tensors[match.shell]);
    }
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corrupted_state_dict) throw;
  }
}

std::vector<DtypeTotal> totals_by_dtype(const std::vector<InspectedTensor>& tensors) {
  std::vector<DtypeTotal> totals;
  for (const InspectedTensor& tensor : tensors) {
    if (tensor.dtype.empty()) continue;
    auto at = std::find_if(totals.begin(), totals.end(),
                           [&](const DtypeTotal& t) { return t.dtype == tensor.dtype; });
    if (at == totals.end()) at = totals.insert(totals.end(), {.dtype = std::string(tensor.dtype)});
    ++at->tensors;
    if (tensor.repeats) continue;
    at->parameters += tensor.parameters;
    at->bytes += tensor.bytes;
  }
  std::stable_sort(totals.begin(), totals.end(),
                   [](const DtypeTotal& a, const DtypeTotal& b) { return a.bytes > b.bytes; });
  return totals;
}

/// Of all rows; nothing where one has no shape.
std::optional<uint64_t> parameters_of(const std::vector<InspectedTensor>& rows) {
  uint64_t count = 0;
  for (const InspectedTensor& row : rows) {
    if (row.dtype.empty()) return std::nullopt;
    const auto sum = checked_add(count, row.repeats ? 0 : row.parameters);
    if (!sum) return std::nullopt;
    count = *sum;
  }
  return rows.empty() ? std::nullopt : std::optional(count);
}

std::optional<uint64_t> parameter_count(const Inspection& inspection,
                                        const std::vector<InspectedTensor>& rows) {
  if (inspection.shell && !inspection.shell->tree.from_tensor_names)
    return inspection.shell->tree.parameter_count();
  return parameters_of(rows);
}

/// Whether there is neither a weight file nor a config that says what the model is.
bool is_no_model(const Checkpoint& checkpoint) {
  return checkpoint.shards.empty() && checkpoint.config.model_type().empty() &&
         checkpoint.config.architectures().empty();
}

std::optional<uint64_t> weight_bytes(const Checkpoint& checkpoint, const std::vector<InspectedTensor>& rows) {
  if (!checkpoint.shards.empty() && checkpoint.complete()) return checkpoint.described_bytes();
  if (checkpoint.index_total_size_bytes) return checkpoint.index_total_size_bytes;
  uint64_t bytes = 0;
  for (const InspectedTensor& row : rows) {
    const auto sum = checked_add(bytes, row.bytes);
    if (row.dtype.empty() || !sum) return std::nullopt;
    bytes = *sum;
  }
  return rows.empty() ? std::nullopt : std::optional(bytes);
}

}  // namespace

Inspection inspect_checkpoint(Checkpoint checkpoint, const std::string& filter) {
  Inspection found;
  found.checkpoint = std::move(checkpoint);
  append(found.warnings, found.checkpoint.warnings);
  append(found.warnings, found.checkpoint.load_warnings());
  try {
    found.shell = build_shell(found.checkpoint, {});
    append(found.warnings, found.shell->warnings);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::unsupported_architecture || is_no_model(found.checkpoint)) throw;
    found.warnings.push_back(error.message());
  }
  if (const auto quantization = read_quantization(found.checkpoint.config))
    found.quantization = quantization->name;

  std::vector<InspectedTensor> rows;
  rows.reserve(found.checkpoint.tensors.size());
  for (const CheckpointTensor& tensor : found.checkpoint.tensors) rows.push_back(from_header(tensor));
  const auto is_described = [](const InspectedTensor& row) { return row.described; };
  if (found.shell && rows.empty() && found.checkpoint.shards.empty()) {
    rows = rows_of_shell(found.shell->tree);
    found.from_shell = true;
  } else if (found.shell && !std::all_of(rows.begin(), rows.end(), is_described)) {
    describe_absent(rows, *found.shell, found.checkpoint);
    found.from_shell = std::any_of(rows.begin(), rows.end(), [](const InspectedTensor& row) {
      return !row.described && !row.dtype.empty();
    });
  }

  found.parameters = parameter_count(found, rows);
  found.total_bytes = weight_bytes(found.checkpoint, rows);
  found.shard_bytes.resize(found.checkpoint.shards.size());
  for (const InspectedTensor& row : rows) {
    if (row.shard && !row.repeats) found.shard_bytes[*row.shard] += row.bytes;
  }
  if (found.shell) found.findings = compare_with_checkpoint(*found.shell, found.checkpoint).findings;
  // A quantised weight is several tensors of packed words, whose elements are no parameters.
  const bool is_part =
      std::ranges::find(found.findings, "missing_keys", &Finding::code) != found.findings.end();
  if (is_part && found.quantization.empty()) found.parameters_here = parameters_of(rows);
  found.tensors_in_all = rows.size();
  if (!filter.empty()) {
    std::erase_if(rows,
                  [&](const InspectedTensor& row) { return !matches_glob(filter, std::string(row.name)); });
    if (rows.empty()) found.warnings.push_back("--filter '" + filter + "' matches no tensor");
  }
  found.dtypes = totals_by_dtype(rows);
  found.tensors = std::move(rows);
  return found;
}

std::vector<TensorPattern> fold_patterns(const std::vector<InspectedTensor>& tensors) {
  std::vector<TensorPattern> patterns;
  std::unordered_map<std::string, size_t, NameHash> places;
  for (const InspectedTensor& tensor : tensors) {
    const std::string pattern = fold_layer_numbers(tensor.name);
    std::string key = pattern + '\0';
    key += tensor.dtype;
    for (const uint64_t dimension : tensor.shape) key += '\0' + std::to_string(dimension);
    const auto [place, is_new] = places.try_emplace(std::move(key), patterns.size());
    if (is_new)
      patterns.push_back({.pattern = pattern,
                          .dtype = std::string(tensor.dtype),
                          .shape = {tensor.shape.begin(), tensor.shape.end()}});
    TensorPattern& at = patterns[place->second];
    ++at.tensors;
    at.parameters += tensor.parameters;
    at.bytes += tensor.bytes;
  }
  return patterns;
}

}  // namespace hfload::cli
