#include "cli/commands.h"
#include "cli/render_command_table.h"

namespace hfload::cli {

void run_completion(const CompletionCommand& command, const Context&) {
  const std::string& shell = command.shell;
  write_standard_output(shell == "bash"     ? render_bash_completion()
                        : shell == "zsh"    ? render_zsh_completion()
                        : shell == "fish"   ? render_fish_completion()
                        : shell == "errors" ? render_error_table()
                                            : render_man_page());
}

}  // namespace hfload::cli
