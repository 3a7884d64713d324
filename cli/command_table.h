#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hfload::cli {

/// The one table of commands, flags and exit statuses. The parser, --help, the man page and the completions
/// are all made from it.

enum class CommandId : uint8_t {
  inspect,
  plan,
  load,
  scan,
  convert,
  verify,
  diff,
  gemm,
  completion,
  help,
  version
};

enum class FlagId : uint8_t {
  json,
  progress,
  color,
  quiet,
  verbose,
  help,
  version,
  variant,
  subfolder,
  key,
  tensors,
  tree,
  filter,
  patterns,
  metadata,
  device_map,
  max_memory,
  context,
  batch,
  kv_dtype,
  dtype,
  no_split,
  compat,
  offload_folder,
  offload_buffers,
  fallback_allocation,
  explain,
  svg,
  emulate_gpus,
  verify,
  threads,
  io,
  map,
  gds,
  strict,
  ignore_mismatched_sizes,
  subset,
  load_dry_run,
  output_dtype,
  dtype_for,
  max_shard_size,
  merge,
  include,
  exclude,
  rename,
  tied,
  format,
  output,
  jobs,
  dry_run,
  force,
  check_threads,
  verified_tensors,
  write_hashes,
  against,
  no_hash,
  compared_tensors,
  tolerance,
  check,
  bench,
  cpu,
  product_threads,
};
inline constexpr size_t kFlagCount = 62;

/// What a flag or an argument takes, as far as completion is concerned.
enum class ValueKind : uint8_t { none, word, choice, file, directory };

struct Flag {
  FlagId id;
  std::string_view name;             ///< with its dashes, "--device-map"
  std::string_view short_name = {};  ///< "-q"; may be empty
  ValueKind kind = ValueKind::none;
  std::string_view value =
      {};  ///< what stands for the value in help: "MAP", or the choices: "auto|always|never"
  std::string_view choices = {};  ///< words to complete, separated by "|"; others may be accepted too
  bool repeatable = false;
  bool may_be_empty = false;  ///< '' is a value
  std::string_view help;      ///< plain sentences
};

struct Example {
  std::string_view command, meaning;
};

struct Command {
  CommandId id;
  std::string_view name;
  std::string_view argument;  ///< "MODEL"; "MODEL..." where there may be several; "[MODEL]"; empty: none
  std::string_view other_usage = {};  ///< arguments with flags that change what they mean: "SRC... -o DIR"
  ValueKind argument_kind = ValueKind::file;
  std::string_view argument_choices = {};
  bool several_arguments = false;
  std::string_view subject = "MODEL is";         ///< begins the list of `forms`
  std::span<const std::string_view> forms = {};  ///< what an argument may be, one line each
  bool json = true;                              ///< it takes --json
  std::string_view summary;                      ///< one line, without a full stop
  std::string_view description;                  ///< sentences
  std::span<const Example> examples;
  std::span<const FlagId> flags;  ///< the command's own, besides the common ones
};

struct ExitStatus {
  std::string_view status;
  std::string_view meaning;
};

struct Variable {
  std::string_view name, meaning;
};

std::span<const Command> commands();
const Command& command(CommandId id);
/// By its name; nothing where there is none.
std::optional<CommandId> find_command(std::string_view name);
/// All flags, in the order of FlagId.
std::span<const Flag> flags();
const Flag& flag(FlagId id);
/// Flags that every command takes, but for --json, which those that only print a text do without.
std::span<const FlagId> common_flags();
/// Those of them that this command takes.
std::span<const FlagId> common_flags(const Command& command);
std::span<const ExitStatus> exit_statuses();
/// The environment variables that are read.
std::span<const Variable> environment_variables();
std::span<const Example> program_examples();
/// "0.1.0".
std::string_view program_version();

/// The argument without the brackets that say that it may be left out: "COMMAND".
std::string_view argument_name(const Command& command);

/// "--device-map MAP", "-q, --quiet".
std::string flag_synopsis(const Flag& flag);

/// The words of "a|b|c".
std::vector<std::string_view> split_choices(std::string_view choices);

}  // namespace hfload::cli
