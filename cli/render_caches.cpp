#include <fmt/core.h>

#include "cli/render_plan.h"
#include "cli/text.h"
#include "core/base/units.h"

namespace hfload::cli {

std::string render_caches(const PlannedModel& model) {
  if (model.caches.empty()) return "";
  TextTable table({TextTable::Align::left, TextTable::Align::right, TextTable::Align::right});
  table.add_row({"Device", "Caches", "One more token of a sequence"});
  const auto add = [&](std::string name, double bytes, uint64_t bytes_per_token) {
    table.add_row(
        {std::move(name), format_byte_size(bytes), format_byte_size(static_cast<double>(bytes_per_token))});
  };
  for (const DeviceUsage& usage : model.plan.devices) {
    if (usage.cache_bytes > 0) add(to_string(usage.device), usage.cache_bytes, usage.cache_bytes_per_token);
  }
  const CacheTotals totals = total_caches(model);
  add("all", static_cast<double>(totals.bytes), totals.bytes_per_token);
  const CacheOptions& cache = *model.cache;
  return fmt::format("Caches in {}, for {} in {}{}:\n", dtype_info(cache.dtype).torch_name,
                     count_of(cache.context_tokens, "token"), cache.batch > 1 ? "each of " : "",
                     count_of(cache.batch, "sequence")) +
         table.render();
}

}  // namespace hfload::cli
