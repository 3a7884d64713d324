#include <fmt/core.h>

#include "cli/render_command_table.h"
#include "core/base/error.h"

namespace hfload::cli {
namespace {

/// Text as roff takes it: backslashes and dashes as themselves, no line that begins with a control character.
std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (c == '\'') {
      out += "\\(aq";
    } else if (c == '~') {
      out += "\\(ti";
    } else {
      out += c;
    }
  }
  if (out.starts_with('.')) out.insert(0, "\\&");
  return out;
}

/// One sentence a line, as roff wants it to space sentences well.
std::string sentences(std::string_view text) {
  std::string out = roff(text);
  for (size_t at = out.find(". "); at != std::string::npos; at = out.find(". ", at + 1)) out[at + 1] = '\n';
  return out + '\n';
}

std::string item(std::string_view term, std::string_view text) {
  return fmt::format(".TP\n.B {}\n{}", roff(term), sentences(text));
}

std::string render_flags(std::span<const FlagId> ids) {
  std::string out;
  for (const FlagId id : ids) out += item(flag_synopsis(flag(id)), flag(id).help);
  return out;
}

std::string synopsis(const Command& command, std::string_view arguments) {
  const std::string italic = arguments.empty() ? std::string() : fmt::format(" \\fI{}\\fR", roff(arguments));
  return fmt::format(".B hfload {}\n[\\fIflags\\fR]{}\n.br\n", roff(command.name), italic);
}

std::string render_command(const Command& command) {
  std::string out = fmt::format(".SS {}{}{}\n{}", roff(command.name), command.argument.empty() ? "" : " ",
                                roff(command.argument), sentences(command.description));
  out += render_flags(command.flags);
  out += ".PP\nExamples:\n";
  for (const Example& example : command.examples) {
    out += fmt::format(".PP\n{}:\n.PP\n.nf\n.RS 4\n{}\n.RE\n.fi\n", roff(example.meaning),
                       roff(example.command));
  }
  return out;
}

}  // namespace

std::string render_man_page() {
  std::string out = fmt::format(".TH HFLOAD 1 \"\" \"hfload {}\" \"User Commands\"\n", program_version());
  out += ".SH NAME\nhfload \\- open, plan and load Hugging Face models without Python\n";
  out += ".SH SYNOPSIS\n";
  for (const Command& command : commands()) {
    out += synopsis(command, command.argument);
    if (!command.other_usage.empty()) out += synopsis(command, command.other_usage);
  }
  out += ".SH DESCRIPTION\n";
  for (const Command& command : commands())
    out += fmt::format(".TP\n.B {}\n{}.\n", roff(command.name), roff(command.summary));
  out +=
      ".PP\nThe product of a command goes to standard output; progress, warnings and hints go to standard "
      "error.\n";
  out += ".SH MODEL\n.I MODEL\nis one of:\n";
  for (const std::string_view form : command(CommandId::inspect).forms)
    out += fmt::format(".IP \\(bu 2\n{}\n", roff(form));
  out += ".SH OPTIONS\n.SS Of every command\n" + render_flags(common_flags());
  out += item(flag_synopsis(flag(FlagId::version)), flag(FlagId::version).help);
  for (const Command& command : commands()) out += render_command(command);
  out += ".SH EXIT STATUS\n";
  for (const ExitStatus& row : exit_statuses()) out += item(row.status, row.meaning);
  out += ".SH ERROR CODES\nUnder \\-\\-json each failure has a stable code.\n";
  for (const ErrorCodeInfo& row : error_code_table()) {
    out += item(row.name, fmt::format("{} (exit status {})", row.meaning, row.exit_status));
  }
  out += ".SH ENVIRONMENT\n";
  for (const Variable& variable : environment_variables()) out += item(variable.name, variable.meaning);
  return out;
}

}  // namespace hfload::cli
