#include "cli/commands.h"
#include "cli/planning.h"
#include "cli/render_bars.h"
#include "cli/render_plan.h"
#include "cli/render_svg.h"
#include "cli/text.h"
#include "core/base/atomic_file.h"

namespace hfload::cli {

void run_plan(const PlanCommand& command, const Context& context) {
  const PlannedModel model = plan_model(open_model(command.model, context.environment), command.planning);
  report_model(model.checkpoint, context.messages);
  report_planning(model, command.planning, context.messages);
  if (command.planning.explain) context.messages.block(render_explanation(model, command.planning));
  if (const std::string caches = render_caches(model); !caches.empty()) context.messages.table(caches);
  if (!command.planning.svg.empty()) write_file_atomically(command.planning.svg, render_svg(model));
  if (!context.common.json) {
    write_standard_output(escape_lines(format_device_map(model.plan.device_map)) + "\n");
    if (is_interactive()) {
      context.messages.drawing(
          render_bars(device_shares(model.plan),
                      {terminal_width(), context.environment.utf8, context.messages.colored()}));
    }
    return;
  }
  JsonWriter json(write_standard_output);
  json.begin_object().key("schema").string("hfload.plan/1");
  write_plan_fields(json, model, command.planning);
  json.end_object();
  json.finish();
}

}  // namespace hfload::cli
