#include "cli/commands.h"
#include "cli/planning.h"
#include "cli/render_verify.h"
#include "cli/signals.h"

namespace hfload::cli {

void run_diff(const DiffCommand& command, const Context& context) {
  Compared compared;
  compared.tolerance = command.tolerance;
  {
    const SignalWatch watch;
    compared.a = open_model(command.a, context.environment);
    compared.b = open_model(command.b, context.environment);
    const auto source_a = open_tensor_source(compared.a);
    const auto source_b = open_tensor_source(compared.b);
    ProgressBar bar(context.common, context.environment, "comparing");
    CheckRun run{command.threads, nullptr, [] { return received_signal() != 0; }};
    run.progress = [&](const ConvertProgress& done) {
      bar.update({done.done_bytes, done.total_bytes, done.seconds});
    };
    compared.difference = diff_checkpoints(compared.a, *source_a, compared.b, *source_b, run);
    stop_if_interrupted();
  }
  if (context.common.json) {
    write_compared_json(compared, write_standard_output);
  } else {
    write_compared(compared, command.tensors, write_standard_output);
  }
  if (!compared.is_equal()) throw CheckFailed{};
}

}  // namespace hfload::cli
