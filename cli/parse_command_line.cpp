#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <utility>

#include "cli/options.h"
#include "cli/options_convert.h"
#include "cli/text.h"

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
