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

/// Thrown by a command that has printed its product, which says what it found: only the exit status is left.
struct CheckFailed {
  int exit_status = 1;
};

/// One function per command. Each prints its product on standard output and throws hfload::Error for
/// everything else.
void run_inspect(const InspectCommand& command, const Context& context);
void run_plan(const PlanCommand& command, const Context& context);
void run_load(const LoadCommand& command, const Context& context);
void run_scan(const ScanCommand& command, const Context& context);
void run_convert(const ConvertCommand& command, const Context& context);
void run_verify(const VerifyCommand& command, const Context& context);
void run_diff(const DiffCommand& command, const Context& context);
void run_gemm(const GemmCommand& command, const Context& context);
void run_completion(const CompletionCommand& command, const Context& context);

}  // namespace hfload::cli
