#include "cli/commands.h"
#include "cli/inspection.h"
#include "cli/planning.h"
#include "cli/render_inspect.h"

namespace hfload::cli {

void run_inspect(const InspectCommand& command, const Context& context) {
  const Inspection found = inspect_checkpoint(open_model(command.model, context.environment), command.filter);
  report_model(found.checkpoint, context.messages);
  for (const std::string& warning : found.warnings) context.messages.warning(warning);
  write_standard_output(context.common.json ? render_inspection_json(found, command)
                                            : render_inspection(found, command));
}

}  // namespace hfload::cli
