#include <csignal>
#include <exception>
#include <new>
#include <string>
#include <system_error>
#include <variant>
#include <vector>

#include "cli/commands.h"
#include "cli/heap.h"
#include "cli/json_writer.h"
#include "cli/key_report.h"
#include "cli/render_command_table.h"
#include "cli/signals.h"
#include "core/base/interrupted.h"

namespace {

using namespace hfload;
using namespace hfload::cli;

void dispatch(const CommandLine& line, const Context& context) {
  struct Visitor {
    const Context& context;
    void operator()(const InspectCommand& command) const { run_inspect(command, context); }
    void operator()(const PlanCommand& command) const { run_plan(command, context); }
    void operator()(const LoadCommand& command) const { run_load(command, context); }
    void operator()(const ScanCommand& command) const { run_scan(command, context); }
    void operator()(const ConvertCommand& command) const { run_convert(command, context); }
    void operator()(const VerifyCommand& command) const { run_verify(command, context); }
    void operator()(const DiffCommand& command) const { run_diff(command, context); }
    void operator()(const GemmCommand& command) const { run_gemm(command, context); }
    void operator()(const CompletionCommand& command) const { run_completion(command, context); }
    void operator()(const HelpRequest& help) const { write_standard_output(render_help(help.command)); }
    void operator()(VersionRequest) const {
      write_standard_output("hfload " + std::string(program_version()) + "\n");
    }
  };
  std::visit(Visitor{context}, line.command);
}

HeapUse heap_use(const ParsedCommand& command) {
  const bool streams =
      std::holds_alternative<ConvertCommand>(command) || std::holds_alternative<VerifyCommand>(command) ||
      std::holds_alternative<DiffCommand>(command) || std::holds_alternative<ScanCommand>(command) ||
      std::holds_alternative<LoadCommand>(command);
  return streams ? HeapUse::streamed_weights : HeapUse::many_small_objects;
}

int report(const Error& error, const CommandLine& line, const Environment& environment,
           const KeyLists* keys = nullptr) {
  Messages(line.common, environment).error(error);
  if (!line.common.json) return error.exit_status();
  // Among the lines of several conversions it is a line, too.
  const auto* convert = std::get_if<ConvertCommand>(&line.command);
  const bool is_among_lines = convert != nullptr && !convert->output_directory.empty();
  JsonWriter json(is_among_lines ? JsonLayout::one_line : JsonLayout::indented);
  json.begin_object().key("schema").string("hfload.error/1").key("error");
  write_error(json, error);
  if (keys != nullptr) write_key_lists(json, *keys);
  json.end_object();
  try {
    write_standard_output(json.take());
  } catch (const ClosedPipe&) {
  } catch (const Error&) {
    // Standard output is what failed, or cannot tell it either; the sentence is on standard error.
  }
  return error.exit_status();
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // writing beyond `ulimit -f` fails with EFBIG instead
  const Environment environment = read_environment();
  CommandLine line;
  try {
    parse_command_line(std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc), line);
    prepare_heap(heap_use(line.command));
    Messages messages(line.common, environment);
    dispatch(line, Context{line.common, environment, messages});
    return 0;
  } catch (const ClosedPipe&) {
    return 0;
  } catch (const CheckFailed& found) {
    return found.exit_status;
  } catch (const Interrupted&) {
    report(Error(ErrorCode::interrupted, "interrupted by " + signal_name(received_signal())), line,
           environment);
    return 128 + received_signal();
  } catch (const KeyError& error) {
    return report(error, line, environment, &error.keys());
  } catch (const Error& error) {
    return report(error, line, environment);
  } catch (const std::bad_alloc&) {
    return report(Error(ErrorCode::out_of_memory, "the host has not enough memory"), line, environment);
  } catch (const std::system_error& fault) {
    return report(Error(ErrorCode::io_error, fault.what()), line, environment);
  } catch (const std::exception& fault) {
    return report(Error(ErrorCode::internal, fault.what()).with_hint("Please report this."), line,
                  environment);
  }
}
