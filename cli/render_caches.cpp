#include <fmt/format.h>

#include "cli/render_plan.h"
#include "cli/text.h"
#include "core/base/units.h"

namespace hfload::cli {

std::string render_caches(const PlannedModel& model) {
  if (model.caches.empty()) return "";
  const CacheTotals totals = total_caches(model);
  std::string text = fmt::format(
      "Caches: {} in {}, for {} in {}{}. One more token takes {}{}.",
      format_byte_size(static_cast<double>(totals.bytes)), dtype_info(model.cache->dtype).torch_name,
      count_of(model.cache->context_tokens, "token"), model.cache->batch > 1 ? "each of " : "",
      count_of(model.cache->batch, "sequence"), format_byte_size(static_cast<double>(totals.bytes_per_token)),
      model.cache->batch > 1 ? " in each" : "");
  std::string lines;
  for (const std::string& line : wrap_text(text, 79)) lines += line + '\n';
  TextTable table({TextTable::Align::left, TextTable::Align::right, TextTable::Align::right});
  table.add_row({"Device", "Caches", "One token"});
  for (const DeviceUsage& usage : model.plan.devices) {
    if (usage.cache_bytes == 0) continue;
    table.add_row({to_string(usage.device), format_byte_size(usage.cache_bytes),
                   format_byte_size(static_cast<double>(usage.cache_bytes_per_token))});
  }
  return lines + table.render();
}

}  // namespace hfload::cli
