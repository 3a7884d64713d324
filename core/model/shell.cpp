#include "core/model/shell.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <string_view>

#include "core/base/error.h"
#include "core/model/architecture.h"
#include "core/model/match_keys.h"
#include "core/model/quantization.h"
#include "core/model/stored_tensors.h"
#include "core/model/tree_from_names.h"

namespace hfload {
namespace {

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
  });
}

Dtype dtype_of_index(const std::string& name) {
  const auto dtype = dtype_from_torch_name(name);
  if (!dtype || !dtype_info(*dtype).is_float) {
    throw Error(ErrorCode::invalid_config,
                fmt::format("the shard index gives the dtype '{}', which no weights can be loaded as", name))
        .with_hint("Say what to load as with --dtype float32, float16 or bfloat16.");
  }
  return *dtype;
}

/// The part of a composite config that says what dtype the whole has where nothing else does: the text
/// model, or else the first that names a dtype. An empty name where none does.
std::string_view part_with_dtype(const ModelConfig& config) {
  const auto names_dtype = [&](std::string_view key, const ConfigValue& value) {
    return key.ends_with("_config") && key != "quantization_config" &&
           std::holds_alternative<ConfigValue::Object>(value.value) && config.nested(key).dtype();
  };
  constexpr std::string_view kText = "text_config";
  const ConfigValue* text = config.find(kText);
  if (text != nullptr && names_dtype(kText, *text)) return kText;
  for (const auto& [key, value] : std::get<ConfigValue::Object>(config.root().value)) {
    if (names_dtype(key, value)) return key;
  }
  return {};
}

/// Whether no header of a shard is there to tell a dtype.
bool lacks_headers(const Checkpoint& checkpoint) {
  return std::ranges::none_of(checkpoint.tensors, &CheckpointTensor::described);
}

/// The dtype that weights without a header have in their files; `dtype` where all have one.
Dtype stored_dtype(const Checkpoint& checkpoint, Dtype dtype) {
  const bool all_described = std::ranges::all_of(checkpoint.tensors, &CheckpointTensor::described);
  return all_described ? dtype : resolve_auto_dtype(checkpoint);
}

/// Says so where `auto` goes by the dtype of a part.
void note_auto_dtype(Shell& shell, const Checkpoint& checkpoint, const ShellOptions& options) {
  if (options.dtype || checkpoint.config.dtype() || checkpoint.index_dtype || !lacks_headers(checkpoint))
    return;
  const std::string_view part = part_with_dtype(checkpoint.config);
  if (part.empty()) return;
  shell.warnings.push_back(fmt::format(
      "config.json names no dtype for the whole model and no weights are there: {} is taken, the dtype of {}",
      dtype_info(shell.dtype).torch_name, part));
}

/// Says so where parts of an unknown architecture have dtypes of their own: which tensors are a part's is not
/// known.
void note_part_dtypes(Shell& shell, const Checkpoint& checkpoint, const ShellOptions& options) {
  if (options.dtype || options.compat == Compat::v5) return;
  for (const auto& [key, value] : std::get<ConfigValue::Object>(checkpoint.config.root().value)) {
    if (!key.ends_with("_config") || key == "quantization_config" ||
        !std::holds_alternative<ConfigValue::Object>(value.value))
      continue;
    const auto dtype = checkpoint.config.nested(key).weight_dtype();
    if (!dtype || *dtype == shell.dtype) continue;
    shell.warnings.push_back(
        fmt::format("{} names the dtype {}, and transformers makes that part in it; as the architecture is "
                    "not known, all "
                    "is loaded as {}",
                    key, dtype_info(*dtype).torch_name, dtype_info(shell.dtype).torch_name));
  }
}

/// The class to build, and a warning when config.json does not name exactly that one.
const ModelClass* choose_class(const Architecture& architecture, const ModelConfig& config,
                               std::vector<std::string>& warnings) {
  const std::vector<std::string> names = config.architectures();
  for (const std::string& name : names) {
    for (const ModelClass& c : architecture.classes) {
      if (c.name == name) return &c;
    }
  }
  for (const std::string& name : names) {
    for (const ModelClass& c : architecture.classes) {
      if (!equal_ignoring_case(c.name, name) && c.legacy_name != name) continue;
      warnings.push_back(
          fmt::format("config.json names the class {} by an old spelling; {} is taken", name, c.name));
      return &c;
    }
  }
  if (!names.empty()) return nullptr;
  warnings.push_back(fmt::format("config.json names no class in `architectures`; {} is taken",
                                 architecture.classes[0].name));
  return &architecture.classes[0];
}

/// transformers 4.57 keeps a parameter in float32 when a whole component of its name is on the list.
bool has_component(std::string_view name, std::string_view component) {
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('.', begin), name.size());
    if (name.substr(begin, end - begin) == component) return true;
    begin = end + 1;
  }
  return false;
}

void keep_in_fp32(ModuleTree& tree, const NameList& components) {
  if (components.begin() == components.end()) return;
  NameMaker make_name(tree.names);
  for (ShellTensor& t : tree.tensors) {
    if (t.is_buffer) continue;
    const std::string_view name = make_name(t.module, t.name);
    for (const std::string_view component : components) {
      if (!has_component(name, component)) continue;
      t.dtype = Dtype::f32;
      t.keeps_dtype = true;
    }
  }
}

std::vector<std::string> to_strings(const NameList& names) { return {names.begin(), names.end()}; }

ModuleTree build_known(const ModelClass& model_class, const ModelConfig& config, Dtype dtype,
                       const ShellOptions& options) {
  const Compat compat = options.compat;
  const auto pick = [&](const auto& v4, const auto& v5) { return compat == Compat::v5 && v5 ? *v5 : v4; };
  const ModelClass& c = model_class;
  ModuleTree tree;
  tree.compat = compat;
  tree.model_class = c.name;
  tree.base_model_prefix = pick(c.base_model_prefix, c.v5_base_model_prefix);
  tree.no_split_modules = to_strings(pick(c.no_split_modules, c.v5_no_split_modules));
  tree.ignore_missing = to_strings(pick(c.ignore_missing, c.v5_ignore_missing));
  tree.ignore_unexpected = to_strings(pick(c.ignore_unexpected, c.v5_ignore_unexpected));
  for (const KeyRename& rename : c.key_renames)
    tree.key_renames.emplace_back(rename.pattern, rename.replacement);
  // transformers 5 makes all parts in the dtype of the whole, and so does 4.57 where the user names one.
  ModuleBuilder builder(tree, dtype, compat == Compat::v4 && !options.dtype);
  c.declare(builder, config);
  builder.finish();
  if (dtype == Dtype::f16) keep_in_fp32(tree, pick(c.keep_in_fp32, c.v5_keep_in_fp32));
  if (dtype == Dtype::f16 || dtype == Dtype::bf16)
    keep_in_fp32(tree, pick(c.keep_in_fp32_strict, c.v5_keep_in_fp32_strict));
  return tree;
}

/// Tensors of the model that the checkpoint lacks while it has others that the model has no place for: the
/// same weights, most likely, under names that are not known.
size_t count_unfound(const ModuleTree& tree, const Checkpoint& checkpoint) {
  try {
    const KeyMatches keys = match_keys(tree, checkpoint);
    return keys.unexpected_keys.empty() ? 0 : keys.missing_keys.size();
  } catch (const Error& error) {
    // Names of two schemes: comparing the two, later, reports it.
    if (error.code() != ErrorCode::corrupted_state_dict) throw;
    return 0;
  }
}

void apply_quantization(Shell& shell, const Checkpoint& checkpoint, const Quantization& quantization) {
  const uint64_t weights =
      checkpoint.tensors.empty() ? 0 : use_stored_tensors(shell.tree, checkpoint, quantization);
  if (weights == 0) {
    shell.warnings.push_back(fmt::format(
        "config.json says that the weights are quantised ({}), and {}: sizes and names are those of the "
        "model before quantisation",
        quantization.name,
        checkpoint.tensors.empty() ? "there are no weights to see how" : "none of the tensors is"));
  } else if (shell.tree.estimated_bytes) {
    shell.warnings.push_back(
        fmt::format("the weights are quantised ({}); sizes of tensors in absent shards are estimated",
                    quantization.name));
  }
  if (weights == 0) return;
  if (const size_t unfound = count_unfound(shell.tree, checkpoint); unfound > 0) {
    shell.warnings.push_back(fmt::format(
        "the weights are quantised ({}), and {} of the model's tensors are not in the checkpoint under "
        "their names: those are sized as before quantisation{}",
        quantization.name, unfound,
        shell.tree.compat == Compat::v5
            ? ". transformers 5 makes one tensor of a layer's experts; --compat 4 keeps them apart"
            : ""));
  }
}

/// Why there is no class to build, as the beginning of a sentence; `config_name` is what the sentence calls
/// the config.
std::string why_unknown(const Checkpoint& checkpoint, std::string_view config_name) {
  if (!checkpoint.has_config) return "there is no config.json";
  const std::vector<std::string> classes = checkpoint.config.architectures();
  const std::string type = checkpoint.config.model_type();
  if (type.empty() && classes.empty())
    return fmt::format("{} names neither a model_type nor architectures", config_name);
  const std::string name = type.empty()      ? classes[0]
                           : classes.empty() ? fmt::format("'{}'", type)
                                             : fmt::format("'{}' ({})", type, classes[0]);
  return fmt::format("the architecture is {}, which hfload does not know", name);
}

/// Whether nothing but the index's total_size can say what dtype the weights have.
bool is_dtype_unknown(const Checkpoint& checkpoint) {
  return !checkpoint.config.dtype() && !checkpoint.index_dtype && checkpoint.index_total_size_bytes &&
         lacks_headers(checkpoint) && part_with_dtype(checkpoint.config).empty();
}

/// Whether the index's total_size is nearer to half of what the tree takes in float32.
bool has_sixteen_bit_total(const ModuleTree& tree, uint64_t total_size_bytes) {
  double in_float32 = 0, in_bfloat16 = 0;
  for (TensorId i = 0; i < tree.tensors.size(); ++i) {
    const ShellTensor& t = tree.tensors[i];
    if (!t.persistent || t.object != i) continue;
    const auto bytes = static_cast<double>(shell_tensor_bytes(t));
    in_float32 += bytes;
    in_bfloat16 += t.dtype == Dtype::f32 && !t.keeps_dtype ? bytes / 2 : bytes;
  }
  const auto total = static_cast<double>(total_size_bytes);
  return std::abs(total - in_bfloat16) < std::abs(total - in_float32);
}

}  // namespace

Dtype resolve_auto_dtype(const Checkpoint& checkpoint) {
  if (const auto dtype = checkpoint.config.weight_dtype()) return *dtype;
  if (checkpoint.index_dtype) return dtype_of_index(*checkpoint.index_dtype);
  const CheckpointTensor* first = nullptr;
  for (const CheckpointTensor& t : checkpoint.tensors) {
    if (t.shard != 0 || !dtype_info(t.dtype).is_float) continue;
    if (first == nullptr || t.name.view() < first->name.view()) first = &t;
  }
  if (first != nullptr) return first->dtype;
  const std::string_view part = lacks_headers(checkpoint) ? part_with_dtype(checkpoint.config) : "";
  return part.empty() ? Dtype::f32 : *checkpoint.config.nested(part).weight_dtype();
}

std::optional<Shell> build_known_shell(const Checkpoint& checkpoint, const ShellOptions& options) {
  Shell shell;
  shell.dtype = options.dtype ? *options.dtype : resolve_auto_dtype(checkpoint);

  const ModelConfig& config = checkpoint.config;
  const Architecture* architecture = find_architecture(config.model_type());
  const ModelClass* model_class =
      architecture == nullptr ? nullptr : choose_class(*architecture, config, shell.warnings);
  if (model_class != nullptr) {
    try {
      shell.tree = build_known(*model_class, config, shell.dtype, options);
    } catch (Error& e) {
      if (e.path().empty()) e.with_path(checkpoint.location.config_path);
      throw;
    }
  }
  if (model_class == nullptr) return std::nullopt;
  note_auto_dtype(shell, checkpoint, options);
  const auto quantization = read_quantization(config);
  if (quantization) apply_quantization(shell, checkpoint, *quantization);
  if (!options.dtype && shell.dtype == Dtype::f32 && is_dtype_unknown(checkpoint) &&
      has_sixteen_bit_total(shell.tree, *checkpoint.index_total_size_bytes)) {
    shell = build_known_shell(checkpoint, {Dtype::bf16, options.compat}).value();
    shell.warnings.emplace_back(
        "config.json names no dtype and the shards are absent: bfloat16 is taken, as the index's total_size "
        "is "
        "that of 16-bit weights");
  }
  return shell;
}

Shell build_shell(const Checkpoint& checkpoint, const ShellOptions& options) {
  std::string reason;
  try {
    if (std::optional<Shell> known = build_known_shell(checkpoint, options)) return *std::move(known);
    reason = why_unknown(checkpoint, "config.json");
  } catch (const Error& e) {
    // A part that is not known leaves the whole unknown.
    if (e.code() != ErrorCode::unsupported_architecture || checkpoint.tensors.empty()) throw;
    reason = e.message();
  }
  if (checkpoint.tensors.empty()) {
    throw Error(ErrorCode::unsupported_architecture,
                fmt::format("{}, and there are no tensor names to derive the modules from",
                            why_unknown(checkpoint, "the file")))
        .with_path(checkpoint.location.config_path.empty() ? checkpoint.location.directory
                                                           : checkpoint.location.config_path)
        .with_hint(
            "Give the config.json of a known architecture, or a model directory with weights or a shard "
            "index.");
  }
  Shell shell;
  shell.dtype = options.dtype ? *options.dtype : resolve_auto_dtype(checkpoint);
  shell.tree = tree_from_tensor_names(checkpoint, stored_dtype(checkpoint, shell.dtype), shell.dtype);
  note_auto_dtype(shell, checkpoint, options);
  note_part_dtypes(shell, checkpoint, options);
  shell.tree.compat = options.compat;
  shell.warnings.push_back(
      fmt::format("{}: modules are derived from tensor names, and numbered layers are not split", reason));
  if (shell.tree.estimated_bytes) {
    shell.warnings.emplace_back(
        "sizes of tensors in absent shards are estimated from the index's total_size");
  }
  return shell;
}

}  // namespace hfload
