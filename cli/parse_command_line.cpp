#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

#include "cli/flag_values.h"
#include "cli/options.h"
#include "cli/text.h"
#include "core/base/join.h"

namespace hfload::cli {
namespace {

std::string suggest(std::string_view word, const std::vector<std::string_view>& candidates,
                    std::string_view command_name) {
  const std::string_view near = did_you_mean(word, candidates);
  return near.empty() ? see_help(command_name) : fmt::format("Did you mean {}?", near);
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

/// Whether an argument is this flag by its long or short name, without or with a value attached to it.
bool names_flag(std::string_view argument, const Flag& flag) {
  if (argument.substr(0, argument.find('=')) == flag.name) return true;
  if (flag.short_name.empty() || !argument.starts_with(flag.short_name)) return false;
  return argument.size() == flag.short_name.size() || flag.kind != ValueKind::none;
}

/// The commands that have this flag.
std::vector<std::string_view> owners_of(std::string_view argument) {
  std::vector<std::string_view> owners;
  for (const Command& command : commands()) {
    if (std::ranges::any_of(command.flags, [&](FlagId id) { return names_flag(argument, flag(id)); }))
      owners.push_back(command.name);
  }
  return owners;
}

/// "inspect, plan and load".
std::string enumerate(const std::vector<std::string_view>& names) {
  if (names.size() == 1) return std::string(names.front());
  const std::vector<std::string_view> first(names.begin(), names.end() - 1);
  return fmt::format("{} and {}", join(first, ", "), names.back());
}

[[noreturn]] void refuse_flag(const std::string& argument, const Command* command) {
  const std::string name = argument.substr(0, argument.find('='));
  const std::vector<std::string_view> owners = owners_of(argument);
  const std::string_view command_name = command == nullptr ? std::string_view() : command->name;
  if (owners.empty()) {
    throw usage_error(fmt::format("unknown flag {}", name),
                      suggest(name, known_flags(command), command_name));
  }
  if (command == nullptr) {
    throw usage_error(fmt::format("{} needs a command before it", name),
                      fmt::format("It belongs to hfload {}.", enumerate(owners)));
  }
  if (std::ranges::find(owners, command_name) != owners.end()) {
    throw usage_error(fmt::format("{} stands before its command", name),
                      fmt::format("A command's flags go after it: hfload {} {}.", command_name, name));
  }
  throw usage_error(fmt::format("{} is not a flag of {}", name, command_name),
                    fmt::format("It belongs to hfload {}.", enumerate(owners)));
}

[[noreturn]] void refuse_extras(const std::vector<std::string>& extras, const Command* command) {
  const auto unknown = std::find_if(extras.begin(), extras.end(),
                                    [](const std::string& e) { return e.size() > 1 && e[0] == '-'; });
  if (unknown != extras.end()) refuse_flag(*unknown, command);
  if (command != nullptr) {
    throw usage_error(fmt::format("unexpected argument '{}'", extras.front()), see_help(command->name));
  }
  std::vector<std::string_view> names;
  for (const Command& known : commands()) names.push_back(known.name);
  throw usage_error(fmt::format("unknown command '{}'", extras.front()), suggest(extras.front(), names, ""));
}

Error needs_value(std::string_view name, const Flag& flag) {
  return usage_error(fmt::format("{} needs a value", name), fmt::format("Write {}.", flag_synopsis(flag)));
}

/// Whether this is no value, but a flag or the end of the flags.
bool is_flag(std::string_view argument) {
  return argument.starts_with("--") || std::ranges::any_of(flags(), [&](const Flag& flag) {
           return !flag.short_name.empty() && argument == flag.short_name;
         });
}

/// What CLI11 would read in another sense than is meant: `--flag=` takes the next argument, a flag takes
/// another one as its value, `-o=x` has the equals sign in its value.
void refuse_missing_values(const std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    const std::string& argument = arguments[i];
    const size_t equals = argument.find('=');
    const std::string name = argument.substr(0, equals);
    const bool nothing_follows = i + 1 == arguments.size() || is_flag(arguments[i + 1]);
    for (const Flag& flag : flags()) {
      const bool is_short = !flag.short_name.empty() && name == flag.short_name;
      if (name != flag.name && !is_short) continue;
      if (flag.kind == ValueKind::none && equals != std::string::npos) {
        throw usage_error(fmt::format("{} takes no value", name),
                          fmt::format("Write {}.", flag_synopsis(flag)));
      }
      if (flag.kind == ValueKind::none) continue;
      if (equals + 1 == argument.size() || (equals == std::string::npos && nothing_follows))
        throw needs_value(name, flag);
      if (is_short && equals != std::string::npos) {
        throw usage_error(fmt::format("{} takes its value without an equals sign", name),
                          fmt::format("Write {}.", flag_synopsis(flag)));
      }
    }
  }
}

void refuse_empty_values(const FlagValues& values) {
  for (const Flag& flag : flags()) {
    if (flag.kind == ValueKind::none || flag.may_be_empty) continue;
    const std::vector<std::string>& given = values_of(values, flag.id);
    if (std::ranges::find(given, "") != given.end()) throw needs_value(flag.name, flag);
  }
}

/// What CLI11 does not parse: a flag without its value among grouped short ones.
Error unparsed(const std::string& fault) {
  const std::string name = fault.substr(0, fault.find(':'));
  const auto found = std::ranges::find(flags(), name, &Flag::name);
  return found == flags().end() ? usage_error(fault, see_help("")) : needs_value(name, *found);
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
  const bool is_optional = command.argument.starts_with('[');
  if (is_optional && arguments.front().empty()) return;
  if (std::find(arguments.begin(), arguments.end(), "") != arguments.end()) {
    throw usage_error(fmt::format("{} needs {}", command.name, command.argument), see_help(command.name));
  }
  if (command.argument_kind != ValueKind::choice) return;
  const std::string& argument = arguments.front();
  const std::vector<std::string_view> choices = split_choices(command.argument_choices);
  const bool hidden = command.id == CommandId::completion && (argument == "man" || argument == "errors");
  if (hidden || std::find(choices.begin(), choices.end(), argument) != choices.end()) return;
  const std::string_view near = did_you_mean(argument, choices);
  throw usage_error(fmt::format("{} does not take '{}'", command.name, argument),
                    near.empty() ? fmt::format("It takes {}.", join(choices, ", "))
                                 : fmt::format("Did you mean {}?", near));
}

}  // namespace

void parse_command_line(const std::vector<std::string>& arguments, CommandLine& line) {
  line.common = scan_common_options(arguments);
  refuse_missing_values(arguments);
  Parser parser;
  try {
    parser.parse(arguments);
  } catch (const CLI::ParseError& fault) {
    throw unparsed(fault.what());
  }
  const FlagValues& values = parser.values();
  const Command* command = parser.command();
  if (is_given(values, FlagId::help)) {
    line.command = HelpRequest{command == nullptr ? std::nullopt : std::optional(command->id)};
    return;
  }
  if (const auto extras = parser.extras(); !extras.empty()) refuse_extras(extras, command);
  refuse_empty_values(values);
  if (is_given(values, FlagId::json) && command != nullptr && !command->json) {
    throw usage_error(fmt::format("--json is not a flag of {}", command->name),
                      "It prints a text, and no document.");
  }
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
