#include "cli/render_inspect.h"

#include <fmt/core.h>

#include <algorithm>

#include "cli/text.h"
#include "core/base/join.h"
#include "core/base/units.h"

namespace hfload::cli {
namespace {

using Align = TextTable::Align;

std::string size_of(uint64_t bytes) { return format_byte_size(static_cast<double>(bytes)); }

std::string join_escaped(const std::vector<std::string>& texts, std::string_view separator) {
  return escape_text(join(texts, separator));
}

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string describe_weights(const Inspection& found) {
  const Checkpoint& checkpoint = found.checkpoint;
  if (checkpoint.shards.empty()) return "none";
  const auto is_present = [](const Shard& shard) { return shard.present; };
  const auto present = std::count_if(checkpoint.shards.begin(), checkpoint.shards.end(), is_present);
  const std::string name = escape_text(file_name(checkpoint.location.weights_path));
  const std::string count = count_of(checkpoint.shards.size(), "shard");
  if (static_cast<size_t>(present) == checkpoint.shards.size()) return fmt::format("{} ({})", name, count);
  return fmt::format("{} ({}, {} not present)", name, count,
                     checkpoint.shards.size() - static_cast<size_t>(present));
}

/// "7,241,732,096 (7.24 B)".
std::string describe_count(uint64_t count) {
  return count < 1000 ? group_digits(count) : fmt::format("{} ({})", group_digits(count), short_count(count));
}

std::string describe_parameters(const Inspection& found) {
  if (!found.parameters) return "unknown";
  return describe_count(*found.parameters) + (found.parameters_here ? " in the model, by config.json" : "");
}

std::string render_summary(const Inspection& found, const std::string& filter) {
  const Checkpoint& checkpoint = found.checkpoint;
  TextTable table({Align::left, Align::left});
  const std::string type = checkpoint.config.model_type();
  table.add_row({"Model type", type.empty() ? "unknown" : escape_text(type)});
  const auto architectures = checkpoint.config.architectures();
  if (!architectures.empty()) table.add_row({"Architecture", join_escaped(architectures, ", ")});
  if (!found.quantization.empty()) table.add_row({"Quantisation", escape_text(found.quantization)});
  table.add_row({"Parameters", describe_parameters(found)});
  if (found.parameters_here)
    table.add_row({"", describe_count(*found.parameters_here) + " in these weights"});
  table.add_row({"Size", found.total_bytes ? fmt::format("{} ({} bytes)", size_of(*found.total_bytes),
                                                         group_digits(*found.total_bytes))
                                           : "unknown"});
  table.add_row({"Weights", describe_weights(found)});
  if (found.from_shell) table.add_row({"", "dtypes and shapes are those of config.json"});
  if (!filter.empty()) {
    table.add_row(
        {"Filter", fmt::format("{}: {} of {}", escape_text(filter), group_digits(found.tensors.size()),
                               count_of(found.tensors_in_all, "tensor"))});
  }
  return table.render();
}

std::string render_dtypes(const Inspection& found) {
  if (found.dtypes.empty()) return "";
  TextTable table({Align::left, Align::right, Align::right, Align::right, Align::right});
  table.add_row({"Dtype", "Tensors", "Parameters", "Bytes", "Size"});
  for (const DtypeTotal& row : found.dtypes) {
    table.add_row({escape_text(row.dtype), group_digits(row.tensors), group_digits(row.parameters),
                   group_digits(row.bytes), size_of(row.bytes)});
  }
  return '\n' + table.render();
}

std::string render_shards(const Inspection& found) {
  if (found.checkpoint.shards.empty()) return "";
  TextTable table({Align::left, Align::left, Align::right, Align::right});
  table.add_row({"Shard", "Present", "Tensors", "Size"});
  for (size_t i = 0; i < found.checkpoint.shards.size(); ++i) {
    const Shard& shard = found.checkpoint.shards[i];
    const bool is_read = shard.is_read();
    const uint64_t bytes = shard.present && !is_read ? shard.identity.bytes : found.shard_bytes[i];
    table.add_row(
        {escape_text(shard.file), shard.present ? "yes" : "no",
         shard.present && !is_read && shard.tensor_count == 0 ? "?" : group_digits(shard.tensor_count),
         bytes == 0 && !shard.present ? "?" : size_of(bytes)});
  }
  return '\n' + table.render();
}

std::string render_tied(const Inspection& found) {
  if (!found.shell) return "";
  const auto groups = found.shell->tree.tied_groups();
  if (groups.empty()) return "";
  std::string text = "\nTied weights\n";
  for (const auto& group : groups) {
    for (size_t i = 0; i < group.size(); ++i)
      text += fmt::format("  {}{}\n", i == 0 ? "" : "= ", escape_text(group[i]));
  }
  return text;
}

/// What differs from the architecture, with the first few names of each kind.
std::string render_findings(const Inspection& found) {
  if (found.findings.empty()) return "";
  constexpr size_t kShown = 5;
  std::string text = "\nFindings\n";
  for (const Finding& finding : found.findings) {
    text += fmt::format("  {}: {}\n", finding.code, escape_text(finding.message));
    for (size_t i = 0; i < std::min(finding.names.size(), kShown); ++i)
      text += fmt::format("    {}\n", escape_text(finding.names[i]));
    if (finding.names.size() > kShown)
      text +=
          fmt::format("    and {} more (--json lists all)\n", group_digits(finding.names.size() - kShown));
  }
  return text;
}

std::string shape_or_unknown(std::string_view dtype, std::span<const uint64_t> shape) {
  return dtype.empty() ? "?" : format_shape(shape);
}

std::string dtype_or_unknown(std::string_view dtype) { return dtype.empty() ? "?" : escape_text(dtype); }

/// Tensors under a heading for each shard, so that the shard's name takes no column.
void write_tensors(const Inspection& found, const TextSink& sink) {
  sink("\nTensors\n");
  for (size_t end = 0; end < found.tensors.size();) {
    const size_t begin = end;
    const auto shard = found.tensors[begin].shard;
    while (end < found.tensors.size() && found.tensors[end].shard == shard) ++end;
    if (shard) sink(fmt::format("  {}\n", escape_text(found.checkpoint.shards[*shard].file)));
    const auto make_rows = [&](const TextTable::RowSink& row) {
      for (size_t at = begin; at < end; ++at) {
        const InspectedTensor& tensor = found.tensors[at];
        row({escape_text(tensor.name), dtype_or_unknown(tensor.dtype),
             shape_or_unknown(tensor.dtype, tensor.shape),
             tensor.dtype.empty() ? "?" : size_of(tensor.bytes)});
      }
    };
    TextTable::write({Align::left, Align::left, Align::left, Align::right}, shard ? 4 : 2, make_rows, sink);
  }
}

std::string render_patterns(const Inspection& found) {
  TextTable table({Align::left, Align::right, Align::left, Align::left, Align::right}, 2);
  for (const TensorPattern& row : fold_patterns(found.tensors)) {
    table.add_row({escape_text(row.pattern), group_digits(row.tensors) + " x", dtype_or_unknown(row.dtype),
                   shape_or_unknown(row.dtype, row.shape), row.dtype.empty() ? "?" : size_of(row.bytes)});
  }
  return "\nPatterns\n" + table.render();
}

std::string render_metadata(const Inspection& found) {
  std::string text = "\nMetadata\n";
  for (const Shard& shard : found.checkpoint.shards) {
    if (!shard.present) continue;
    text += fmt::format("  {}\n", escape_text(shard.file));
    if (shard.metadata.empty()) text += "    (none)\n";
    for (const auto& [key, value] : shard.metadata)
      text += fmt::format("    {}: {}\n", escape_text(key), escape_text(value));
  }
  return text;
}

}  // namespace

void write_inspection(const Inspection& found, const InspectCommand& command, const TextSink& sink) {
  sink(render_summary(found, command.filter) + render_dtypes(found) + render_shards(found) +
       render_tied(found) + render_findings(found));
  if (command.metadata) sink(render_metadata(found));
  if (command.tree && found.shell) sink("\nModules\n" + render_tree(found.shell->tree, command.filter));
  if (found.tensors.empty()) return;
  if (command.patterns) sink(render_patterns(found));
  if (command.tensors) write_tensors(found, sink);
}

}  // namespace hfload::cli
