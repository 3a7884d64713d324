#include "cli/commands.h"
#include "cli/inspection.h"
#include "cli/planning.h"
#include "cli/render_inspect.h"

namespace hfload::cli {

void run_inspect(const InspectCommand& command, const Context& context) {
  const Inspection found = inspect_checkpoint(open_model(command.model, context.environment), command.filter);
  report_model(found.checkpoint, context.messages);
  for (const std::string& warning : found.warnings) context.messages.warning(warning);
  context.common.json ? write_inspection_json(found, command, write_standard_output)
                      : write_inspection(found, command, write_standard_output);
}

}  // namespace hfload::cli
