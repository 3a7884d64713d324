#pragma once

#include <optional>
#include <string>

#include "cli/command_table.h"

namespace hfload::cli {

/// Help of one command, or of the program: examples first, 80 columns.
std::string render_help(std::optional<CommandId> command);

/// hfload.1 in man(7) macros.
std::string render_man_page();

std::string render_bash_completion();
std::string render_zsh_completion();
std::string render_fish_completion();

/// The table of error codes as docs/errors.md holds it.
std::string render_error_table();

}  // namespace hfload::cli
