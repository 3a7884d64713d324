#include <fmt/core.h>

#include <algorithm>

#include "cli/render_command_table.h"
#include "cli/text.h"
#include "core/base/error.h"
#include "core/base/join.h"

namespace hfload::cli {
namespace {

constexpr size_t kWidth = 80;
constexpr size_t kFlagColumn = 28;  ///< where the explanation of a flag begins

std::string paragraph(std::string_view text) {
  std::string out;
  for (const std::string& line : wrap_text(text, kWidth)) out += line + '\n';
  return out;
}

/// A term and its explanation beside it, or below it where the term is too long.
std::string entry(std::string_view term, std::string_view text, size_t column) {
  std::string out = fmt::format("  {}", term);
  if (out.size() + 1 > column) {
    out += '\n';
    out.append(column, ' ');
  } else {
    out.append(column - out.size(), ' ');
  }
  bool first = true;
  for (const std::string& line : wrap_text(text, kWidth - column)) {
    if (!first) out += '\n' + std::string(column, ' ');
    out += line;
    first = false;
  }
  return out + '\n';
}

std::string render_examples(std::span<const Example> examples) {
  std::string out = "Examples:\n";
  for (const Example& example : examples)
    out += fmt::format("  # {}\n  {}\n", example.meaning, example.command);
  return out;
}

std::string render_flags(std::string_view heading, std::span<const FlagId> ids) {
  std::string out = fmt::format("{}:\n", heading);
  for (const FlagId id : ids) out += entry(flag_synopsis(flag(id)), flag(id).help, kFlagColumn);
  return out;
}

std::string render_program_help() {
  std::string out = "hfload opens, plans and loads Hugging Face models without Python.\n\n";
  out += render_examples(program_examples());
  out += "\nUsage: hfload COMMAND [FLAGS] [ARGUMENT]\n\nCommands:\n";
  for (const Command& command : commands()) out += entry(command.name, command.summary, 14);
  out += '\n' + render_flags("Flags of every command", common_flags());
  out += entry(flag_synopsis(flag(FlagId::version)), flag(FlagId::version).help, kFlagColumn);
  out += "\nExit status:\n";
  for (const ExitStatus& row : exit_statuses()) out += entry(row.status, row.meaning, 7);
  return out + "\nhfload help COMMAND, or hfload COMMAND --help, says more.\n";
}

std::string render_usage(const Command& command) {
  std::string out = fmt::format("Usage: hfload {} [FLAGS]{}{}\n", command.name,
                                command.argument.empty() ? "" : " ", command.argument);
  if (!command.other_usage.empty())
    out += fmt::format("       hfload {} [FLAGS] {}\n", command.name, command.other_usage);
  return out;
}

std::string render_command_help(const Command& command) {
  std::string out = fmt::format("{}.\n\n", command.summary) + render_examples(command.examples);
  out += '\n' + render_usage(command) + '\n' + paragraph(command.description);
  if (!command.forms.empty()) {
    out += fmt::format("\n{} one of:\n", command.subject);
    for (const std::string_view form : command.forms) out += entry("-", form, 4);
  } else if (command.argument_kind == ValueKind::choice) {
    out += '\n' + paragraph(fmt::format("{} is one of: {}.", argument_name(command),
                                        join(split_choices(command.argument_choices), ", ")));
  }
  if (!command.flags.empty()) out += '\n' + render_flags("Flags", command.flags);
  return out + '\n' + render_flags("Flags of every command", common_flags(command));
}

}  // namespace

std::string render_help(std::optional<CommandId> id) {
  return id ? render_command_help(command(*id)) : render_program_help();
}

std::string render_error_table() {
  std::string out = "| code | exit status | meaning |\n|---|---|---|\n";
  for (const ErrorCodeInfo& row : error_code_table()) {
    out += fmt::format("| `{}` | {} | {} |\n", row.name, row.exit_status, row.meaning);
  }
  return out;
}

}  // namespace hfload::cli
