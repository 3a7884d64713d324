#include "cli/json_writer.h"
#include "cli/render_inspect.h"

namespace hfload::cli {
namespace {

void write_optional(JsonWriter& json, const std::optional<uint64_t>& number) {
  number ? json.number(*number) : json.null();
}

void write_shape(JsonWriter& json, std::string_view dtype, std::span<const uint64_t> shape) {
  json.key("dtype").string_or_null(dtype).key("shape");
  dtype.empty() ? json.null() : json.numbers(shape);
}

void write_shards(JsonWriter& json, const Inspection& found, bool metadata) {
  json.key("shards").begin_array();
  for (size_t i = 0; i < found.checkpoint.shards.size(); ++i) {
    const Shard& shard = found.checkpoint.shards[i];
    const bool is_known = shard.present || found.shard_bytes[i] > 0;
    json.begin_object().key("file").string(shard.file).key("present").boolean(shard.present);
    json.key("tensors").number(shard.tensor_count).key("bytes");
    is_known ? json.number(shard.is_read() ? found.shard_bytes[i] : shard.identity.bytes) : json.null();
    if (metadata) {
      json.key("metadata").begin_object();
      for (const auto& [key, value] : shard.metadata) json.key(key).string(value);
      json.end_object();
    }
    json.end_object();
  }
  json.end_array();
}

void write_tensors(JsonWriter& json, const Inspection& found) {
  json.key("tensors").begin_array();
  for (const InspectedTensor& tensor : found.tensors) {
    json.begin_object().key("name").string(tensor.name);
    write_shape(json, tensor.dtype, tensor.shape);
    json.key("shard");
    tensor.shard ? json.string(found.checkpoint.shards[*tensor.shard].file) : json.null();
    json.key("data_offsets");
    const uint64_t offsets[] = {tensor.begin, tensor.end};
    tensor.described&& tensor.in_place ? json.numbers(offsets) : json.null();
    json.end_object();
  }
  json.end_array();
}

void write_patterns(JsonWriter& json, const Inspection& found) {
  json.key("patterns").begin_array();
  for (const TensorPattern& row : fold_patterns(found.tensors)) {
    json.begin_object().key("pattern").string(row.pattern);
    write_shape(json, row.dtype, row.shape);
    json.key("tensors")
        .number(row.tensors)
        .key("parameters")
        .number(row.parameters)
        .key("bytes")
        .number(row.bytes)
        .end_object();
  }
  json.end_array();
}

/// Flat, as a hostile checkpoint's names may nest deeper than a reader of JSON goes.
void write_modules(JsonWriter& json, const ModuleTree& tree, const std::string& filter) {
  const std::vector<ModuleTotals> totals = module_totals(tree, filter);
  NameMaker name(tree.names);
  json.key("modules").begin_array();
  for (ModuleId id = 0; id < tree.modules.size(); ++id) {
    if (!filter.empty() && totals[id].tensors == 0) continue;
    json.begin_object().key("name").string(name(id)).key("class").string(tree.modules[id].class_name);
    json.key("parameters").number(totals[id].parameters).key("bytes").number(totals[id].bytes).end_object();
  }
  json.end_array();
}

}  // namespace

void write_inspection_json(const Inspection& found, const InspectCommand& command, const TextSink& sink) {
  JsonWriter json(sink);
  json.begin_object().key("schema").string("hfload.inspect/1");
  json.key("model_type").string_or_null(found.checkpoint.config.model_type());
  json.key("architectures").strings(found.checkpoint.config.architectures());
  json.key("quantization").string_or_null(found.quantization);
  json.key("parameters");
  write_optional(json, found.parameters);
  json.key("total_bytes");
  write_optional(json, found.total_bytes);
  json.key("dtypes").begin_object();
  for (const DtypeTotal& row : found.dtypes) {
    json.key(row.dtype)
        .begin_object()
        .key("tensors")
        .number(row.tensors)
        .key("parameters")
        .number(row.parameters);
    json.key("bytes").number(row.bytes).end_object();
  }
  json.end_object();
  write_shards(json, found, command.metadata);
  json.key("tied_weights").begin_array();
  if (found.shell) {
    for (const auto& group : found.shell->tree.tied_groups()) json.strings(group);
  }
  json.end_array();
  json.key("findings").begin_array();
  for (const Finding& finding : found.findings) {
    json.begin_object().key("code").string(finding.code).key("message").string(finding.message);
    json.key("names").strings(finding.names).end_object();
  }
  json.end_array();
  if (command.tensors) write_tensors(json, found);
  if (command.patterns) write_patterns(json, found);
  if (command.tree && found.shell) write_modules(json, found.shell->tree, command.filter);
  json.key("warnings").strings(found.warnings).end_object();
  json.finish();
}

}  // namespace hfload::cli
