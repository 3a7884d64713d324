#pragma once

#include "cli/environment.h"
#include "cli/options.h"
#include "cli/terminal.h"

namespace hfload::cli {

/// What every command is given.
struct Context {
  CommonOptions common;
  Environment environment;
  Messages& messages;
};

/// One function per command. Each prints its product on standard output and throws hfload::Error for
/// everything else.
void run_inspect(const InspectCommand& command, const Context& context);
void run_plan(const PlanCommand& command, const Context& context);
void run_load(const LoadCommand& command, const Context& context);
void run_gemm(const GemmCommand& command, const Context& context);
void run_completion(const CompletionCommand& command, const Context& context);

}  // namespace hfload::cli
