#include "cli/options.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <deque>

#include "cli/options_convert.h"
#include "cli/text.h"
#include "core/base/file.h"
#include "core/plan/device.h"

namespace hfload::cli {
namespace {

constexpr uint64_t kMaxDeviceMapBytes = 16'000'000;

Error usage_error(std::string message, std::string hint) {
  return Error(ErrorCode::usage, std::move(message)).with_hint(std::move(hint));
}

std::string see_help(std::string_view command_name) {
  return command_name.empty() ? "See hfload --help." : fmt::format("See hfload {} --help.", command_name);
}

std::string suggest(std::string_view word, const std::vector<std::string_view>& candidates,
                    std::string_view command_name) {
  const std::string_view near = did_you_mean(word, candidates);
  return near.empty() ? see_help(command_name) : fmt::format("Did you mean {}?", near);
}

}  // namespace

std::string choice(const FlagValues& values, FlagId id) {
  const std::vector<std::string_view> choices = split_choices(flag(id).choices);
  if (!is_given(values, id)) return std::string(choices.front());
  const std::string value = last_value(values, id);
  if (std::find(choices.begin(), choices.end(), value) != choices.end()) return value;
  const std::string_view near = did_you_mean(value, choices);
  const std::string list = fmt::format("{} is one of {}.", flag(id).name, fmt::join(choices, ", "));
  const auto code = id == FlagId::dtype || id == FlagId::kv_dtype || id == FlagId::output_dtype
                        ? ErrorCode::invalid_dtype
                        : ErrorCode::usage;
  throw Error(code, fmt::format("{} does not take '{}'", flag(id).name, value))
      .with_hint(near.empty() ? list : fmt::format("Did you mean {}? {}", near, list));
}

namespace {

When when(const FlagValues& values, FlagId id) {
  const std::string value = choice(values, id);
  return value == "always" ? When::always : value == "never" ? When::never : When::automatic;
}

std::string device_map_forms() {
  return fmt::format("--device-map takes {}, the number of a GPU, FILE.json, or a JSON object.",
                     fmt::join(split_choices(flag(FlagId::device_map).choices), ", "));
}

DeviceMap read_device_map_file(const std::string& path) {
  try {
    return parse_device_map(read_text_file(open_regular_file(path), kMaxDeviceMapBytes));
  } catch (Error& error) {
    if (error.path().empty()) error.with_path(path);
    if (error.code() == ErrorCode::not_found) error.with_hint(device_map_forms());
    throw;
  }
}

DeviceMapChoice parse_device_map_choice(const std::string& text) {
  constexpr std::pair<std::string_view, Strategy> kStrategies[] = {
      {"auto", Strategy::balanced_auto},
      {"balanced", Strategy::balanced},
      {"balanced_low_0", Strategy::balanced_low_0},
      {"sequential", Strategy::sequential},
      {"tight", Strategy::tight}};
  for (const auto& [name, strategy] : kStrategies) {
    if (text == name) return strategy;
  }
  const size_t start = text.find_first_not_of(" \t\r\n");
  if (start != std::string::npos && text[start] == '{') return parse_device_map(text);
  try {
    return DeviceMap{{"", parse_device(text)}};
  } catch (const Error&) {
    struct stat status {};
    if (text.ends_with(".json") || stat(text.c_str(), &status) == 0) return read_device_map_file(text);
  }
  const auto words = split_choices(flag(FlagId::device_map).choices);
  const std::string_view near = did_you_mean(text, words);
  throw Error(ErrorCode::invalid_device_map,
              fmt::format("'{}' is no strategy, no device, and no file with a device map", text))
      .with_hint(near.empty() ? device_map_forms() : fmt::format("Did you mean {}?", near));
}

ReadPath read_path(const FlagValues& values) {
  if (!is_given(values, FlagId::io)) return ReadPath::automatic;
  const std::string name = last_value(values, FlagId::io);
  if (name == "pread") return ReadPath::pread;
  if (name == "direct") return ReadPath::direct;
  if (name == "mmap") return ReadPath::mapping;
  if (name == "auto") return ReadPath::automatic;
  throw usage_error(fmt::format("--io does not take '{}'", name), "It takes auto, pread, direct or mmap.");
}

/// A flag that counts something: a whole number from 1.
uint64_t parse_count(const FlagValues& values, FlagId id) {
  const std::string text = last_value(values, id);
  uint64_t count = 0;
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (fault == std::errc() && end == text.data() + text.size() && count > 0) return count;
  throw usage_error(fmt::format("{} does not take '{}'", flag(id).name, text),
                    fmt::format("{} is a whole number, 1 or more.", flag(id).name));
}

void read_cache_options(const FlagValues& values, PlanningOptions& planning) {
  for (const FlagId id : {FlagId::batch, FlagId::kv_dtype}) {
    if (!is_given(values, id) || is_given(values, FlagId::context)) continue;
    throw usage_error(fmt::format("{} says nothing without --context", flag(id).name),
                      "Give the number of tokens too, as in --context 8192.");
  }
  if (is_given(values, FlagId::context)) planning.context_tokens = parse_count(values, FlagId::context);
  if (is_given(values, FlagId::batch)) planning.batch = parse_count(values, FlagId::batch);
  const std::string dtype = choice(values, FlagId::kv_dtype);
  if (dtype != "auto") planning.kv_dtype = dtype_from_torch_name(dtype);
}

ModelOptions model_options(const std::string& model, const FlagValues& values) {
  return {model, last_value(values, FlagId::variant), last_value(values, FlagId::subfolder),
          last_value(values, FlagId::key)};
}

PlanningOptions planning_options(const FlagValues& values) {
  PlanningOptions planning;
  planning.compat = choice(values, FlagId::compat) == "5" ? Compat::v5 : Compat::v4;
  if (is_given(values, FlagId::max_memory)) {
    planning.max_memory = parse_max_memory(last_value(values, FlagId::max_memory));
  }
  const std::string dtype = choice(values, FlagId::dtype);
  if (dtype != "auto") planning.dtype = dtype_from_torch_name(dtype);
  if (is_given(values, FlagId::no_split)) planning.no_split = values_of(values, FlagId::no_split);
  planning.offload_folder = last_value(values, FlagId::offload_folder);
  planning.offload_buffers = is_given(values, FlagId::offload_buffers);
  planning.fallback_allocation = is_given(values, FlagId::fallback_allocation);
  planning.explain = is_given(values, FlagId::explain);
  read_cache_options(values, planning);
  planning.svg = last_value(values, FlagId::svg);
  if (is_given(values, FlagId::svg) && planning.svg.empty())
    throw usage_error("--svg needs the name of a file", "Write --svg FILE.");
  if (is_given(values, FlagId::device_map)) {
    planning.device_map = parse_device_map_choice(last_value(values, FlagId::device_map));
  }
  return planning;
}

KeyMode key_mode(const FlagValues& values) {
  const bool strict = is_given(values, FlagId::strict);
  const bool ignore = is_given(values, FlagId::ignore_mismatched_sizes);
  if (strict && ignore) {
    throw usage_error("--strict and --ignore-mismatched-sizes contradict each other",
                      "--strict fails for every tensor of another shape; leave one of them out.");
  }
  return strict ? KeyMode::strict : ignore ? KeyMode::ignore_mismatched : KeyMode::complete;
}

LoadCommand load_command(const std::string& model, const FlagValues& values) {
  if (is_given(values, FlagId::gds) && is_given(values, FlagId::emulate_gpus)) {
    throw usage_error("--gds and --emulate-gpus contradict each other",
                      "GPUDirect Storage reads into the memory of a real GPU; leave one of them out.");
  }
  return {model_options(model, values),
          planning_options(values),
          is_given(values, FlagId::verify),
          is_given(values, FlagId::emulate_gpus),
          threads_of(values),
          read_path(values),
          is_given(values, FlagId::map),
          is_given(values, FlagId::gds),
          key_mode(values),
          values_of(values, FlagId::subset)};
}

GemmCommand gemm_command(const FlagValues& values) {
  const GemmCommand gemm{is_given(values, FlagId::check), is_given(values, FlagId::bench),
                         is_given(values, FlagId::cpu), threads_of(values, FlagId::product_threads)};
  if (!gemm.check && !gemm.bench) throw usage_error("gemm needs --check or --bench", see_help("gemm"));
  if (gemm.threads != 0 && !gemm.cpu) {
    throw usage_error("--threads says nothing without --cpu", "Add --cpu, or leave --threads out.");
  }
  return gemm;
}

ParsedCommand typed_command(CommandId id, const std::vector<std::string>& arguments,
                            const FlagValues& values) {
  const std::string& argument = arguments.front();
  switch (id) {
    case CommandId::inspect: {
      InspectCommand inspect{model_options(argument, values),    is_given(values, FlagId::tensors),
                             is_given(values, FlagId::tree),     is_given(values, FlagId::patterns),
                             is_given(values, FlagId::metadata), last_value(values, FlagId::filter)};
      if (!inspect.filter.empty() && !inspect.tree && !inspect.patterns) inspect.tensors = true;
      return inspect;
    }
    case CommandId::plan:
      return PlanCommand{model_options(argument, values), planning_options(values)};
    case CommandId::load:
      return load_command(argument, values);
    case CommandId::scan:
      return ScanCommand{arguments};
    case CommandId::convert:
      return convert_command(arguments, values);
    case CommandId::verify:
      return VerifyCommand{model_options(argument, values), is_given(values, FlagId::tensors),
                           last_value(values, FlagId::write_hashes), last_value(values, FlagId::against),
                           threads_of(values, FlagId::check_threads)};
    case CommandId::diff:
      return diff_command(arguments, values);
    case CommandId::gemm:
      return gemm_command(values);
    case CommandId::completion:
      return CompletionCommand{argument};
  }
  return HelpRequest{};
}

/// CLI11's view of the table. Every value is collected as text; what it means is decided afterwards.
class Parser {
 public:
  Parser() : app_("", "hfload") {
    app_.set_help_flag();
    app_.require_subcommand(0, 1);
    app_.allow_extras();
    app_.fallthrough();
    for (const FlagId id : common_flags()) add_flag(app_, id);
    add_flag(app_, FlagId::version);
    for (const Command& command : commands()) {
      CLI::App* sub = app_.add_subcommand(std::string(command.name));
      sub->set_help_flag();
      sub->allow_extras();
      if (command.several_arguments) {
        sub->add_option(std::string("arguments"), arguments_)->expected(-1);
      } else {
        sub->add_option(std::string("argument"), argument_);
      }
      for (const FlagId id : command.flags) add_flag(*sub, id);
    }
  }

  void parse(std::vector<std::string> arguments) {
    std::reverse(arguments.begin(), arguments.end());
    app_.parse(std::move(arguments));
  }

  const Command* command() const {
    const auto parsed = app_.get_subcommands();
    if (parsed.empty()) return nullptr;
    const auto all = commands();
    return &*std::find_if(all.begin(), all.end(),
                          [&](const Command& c) { return c.name == parsed[0]->get_name(); });
  }

  const FlagValues& values() const { return values_; }
  /// Of the command, one at least, which may be empty.
  std::vector<std::string> arguments() const {
    return arguments_.empty() ? std::vector{argument_} : arguments_;
  }
  /// What was not understood. CLI11 counts the "--" that ends the flags among it.
  std::vector<std::string> extras() const {
    std::vector<std::string> extras = app_.remaining(true);
    std::erase(extras, "--");
    return extras;
  }

 private:
  void add_flag(CLI::App& app, FlagId id) {
    const Flag& flag = cli::flag(id);
    std::string names(flag.name);
    if (!flag.short_name.empty()) names.append(",").append(flag.short_name);
    std::vector<std::string>& values = values_[static_cast<size_t>(id)];
    if (flag.kind == ValueKind::none) {
      app.add_flag_callback(names, [&values] { values.emplace_back(); });
    } else {
      app.add_option(names, values)->allow_extra_args(false)->type_name(std::string(flag.value));
    }
  }

  FlagValues values_;
  std::string argument_;
  std::vector<std::string> arguments_;  ///< of a command that takes several
  CLI::App app_;
};

std::vector<std::string_view> known_flags(const Command* command) {
  std::vector<std::string_view> names;
  for (const FlagId id : common_flags()) names.push_back(flag(id).name);
  names.push_back(flag(FlagId::version).name);
  if (command == nullptr) return names;
  for (const FlagId id : command->flags) names.push_back(flag(id).name);
  return names;
}

/// The command whose own flag this is, for a flag given to another one.
const Command* owner_of(std::string_view flag_name) {
  for (const Command& command : commands()) {
    for (const FlagId id : command.flags) {
      if (flag(id).name == flag_name) return &command;
    }
  }
  return nullptr;
}

[[noreturn]] void refuse_extras(const std::vector<std::string>& extras, const Command* command) {
  const std::string_view command_name = command == nullptr ? std::string_view() : command->name;
  const auto unknown = std::find_if(extras.begin(), extras.end(),
                                    [](const std::string& e) { return e.size() > 1 && e[0] == '-'; });
  if (unknown != extras.end()) {
    const std::string name = unknown->substr(0, unknown->find('='));
    const Command* owner = owner_of(name);
    if (command != nullptr && owner != nullptr) {
      throw usage_error(fmt::format("{} is not a flag of {}", name, command_name),
                        fmt::format("It belongs to hfload {}.", owner->name));
    }
    throw usage_error(fmt::format("unknown flag {}", name),
                      suggest(name, known_flags(command), command_name));
  }
  if (command != nullptr) {
    throw usage_error(fmt::format("unexpected argument '{}'", extras.front()), see_help(command_name));
  }
  std::vector<std::string_view> names;
  for (const Command& known : commands()) names.push_back(known.name);
  throw usage_error(fmt::format("unknown command '{}'", extras.front()), suggest(extras.front(), names, ""));
}

/// What CLI11 would read in another sense than is meant: `--flag=` takes the next argument, a flag takes
/// another one as its value.
void refuse_missing_values(const std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    const std::string& argument = arguments[i];
    for (const Flag& flag : flags()) {
      const bool takes_value = flag.kind != ValueKind::none;
      const bool empty = argument.size() == flag.name.size() + 1 && argument.starts_with(flag.name) &&
                         argument.back() == '=';
      const bool nothing_follows =
          argument == flag.name && (i + 1 == arguments.size() || arguments[i + 1].starts_with("--"));
      if (takes_value && (empty || nothing_follows)) {
        throw usage_error(fmt::format("{} needs a value", flag.name),
                          fmt::format("Write {}.", flag_synopsis(flag)));
      }
      if (!takes_value && argument.starts_with(flag.name) && argument.size() > flag.name.size() &&
          argument[flag.name.size()] == '=') {
        throw usage_error(fmt::format("{} takes no value", flag.name),
                          fmt::format("Write {}.", flag_synopsis(flag)));
      }
    }
  }
}

/// The flags that say how an error is reported, found even where the rest cannot be parsed.
CommonOptions scan_common_options(const std::vector<std::string>& arguments) {
  CommonOptions common;
  for (size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--json") common.json = true;
    const bool apart = argument == "--color" && i + 1 < arguments.size();
    const std::string color = apart                              ? arguments[i + 1]
                              : argument.starts_with("--color=") ? argument.substr(8)
                                                                 : "";
    if (color == "never") common.color = When::never;
    if (color == "always") common.color = When::always;
  }
  return common;
}

void require_arguments(const Command& command, const std::vector<std::string>& arguments) {
  if (command.argument.empty()) {
    if (arguments.front().empty()) return;
    throw usage_error(fmt::format("unexpected argument '{}'", arguments.front()), see_help(command.name));
  }
  if (std::find(arguments.begin(), arguments.end(), "") != arguments.end()) {
    throw usage_error(fmt::format("{} needs {}", command.name, command.argument), see_help(command.name));
  }
  if (command.argument_kind != ValueKind::choice) return;
  const std::string& argument = arguments.front();
  const std::vector<std::string_view> choices = split_choices(command.argument_choices);
  const bool hidden = argument == "man" || argument == "errors";
  if (hidden || std::find(choices.begin(), choices.end(), argument) != choices.end()) return;
  throw usage_error(fmt::format("{} does not take '{}'", command.name, argument),
                    fmt::format("It takes {}.", fmt::join(choices, ", ")));
}

}  // namespace

void parse_command_line(const std::vector<std::string>& arguments, CommandLine& line) {
  line.common = scan_common_options(arguments);
  refuse_missing_values(arguments);
  Parser parser;
  try {
    parser.parse(arguments);
  } catch (const CLI::ParseError& fault) {
    throw usage_error(fault.what(), see_help(""));
  }
  const FlagValues& values = parser.values();
  const Command* command = parser.command();
  if (is_given(values, FlagId::help)) {
    line.command = HelpRequest{command == nullptr ? std::nullopt : std::optional(command->id)};
    return;
  }
  if (const auto extras = parser.extras(); !extras.empty()) refuse_extras(extras, command);
  line.common.quiet = is_given(values, FlagId::quiet);
  line.common.verbose = is_given(values, FlagId::verbose);
  line.common.color = when(values, FlagId::color);
  line.common.progress = when(values, FlagId::progress);
  if (is_given(values, FlagId::version)) {
    line.command = VersionRequest{};
  } else if (command == nullptr) {
    throw usage_error("no command is given", see_help(""));
  } else {
    require_arguments(*command, parser.arguments());
    line.command = typed_command(command->id, parser.arguments(), values);
  }
}

}  // namespace hfload::cli
