#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command_table.h"
#include "cli/options.h"
#include "core/base/error.h"

namespace hfload::cli {

/// Values of each flag in the order given; a flag without a value counts by an entry.
using FlagValues = std::array<std::vector<std::string>, kFlagCount>;

inline const std::vector<std::string>& values_of(const FlagValues& values, FlagId id) {
  return values[static_cast<size_t>(id)];
}
inline bool is_given(const FlagValues& values, FlagId id) { return !values_of(values, id).empty(); }

/// The last value given, as is the custom where a flag is repeated.
inline std::string last_value(const FlagValues& values, FlagId id) {
  return is_given(values, id) ? values_of(values, id).back() : std::string();
}

/// A fault of the command line, of exit status 2.
Error usage_error(std::string message, std::string hint);

/// "See hfload plan --help."; "See hfload --help." without a command.
std::string see_help(std::string_view command_name);

/// What torch calls a dtype that people also know by another name: "float16" of "fp16", "half" and
/// "torch.float16". Any other text in lower case.
std::string usual_dtype_name(std::string_view text);

/// The value of a flag that has a closed list of choices; the first where it is absent. Throws Error(usage,
/// invalid_dtype).
std::string choice(const FlagValues& values, FlagId id);

/// --threads; 0 where it is absent. Throws Error(usage).
unsigned threads_of(const FlagValues& values, FlagId id = FlagId::threads);

/// --color or --progress. Throws Error(usage).
When when(const FlagValues& values, FlagId id);

/// The value of --device-map: a strategy, a device, a map, or a file with a map. Throws Error of exit status
/// 2, and of 3, 5 and 8 for a file.
DeviceMapChoice parse_device_map_choice(const std::string& text);

/// What the flags of a command mean, of which one argument at least was given. Throws Error of exit status 2.
ParsedCommand typed_command(CommandId id, const std::vector<std::string>& arguments,
                            const FlagValues& values);

/// The command line of convert. Throws Error of exit status 2.
ConvertCommand convert_command(const std::vector<std::string>& arguments, const FlagValues& values);

/// The command line of diff. Throws Error of exit status 2.
DiffCommand diff_command(const std::vector<std::string>& arguments, const FlagValues& values);

}  // namespace hfload::cli
