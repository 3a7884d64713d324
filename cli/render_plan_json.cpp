#include <cmath>

#include "cli/render_plan.h"

namespace hfload::cli {

void write_device(JsonWriter& json, Device device) {
  if (device.is_gpu()) {
    json.number(device.ordinal);
  } else {
    json.string(to_string(device));
  }
}

namespace {

void write_cache(JsonWriter& json, const PlannedModel& model) {
  const CacheTotals totals = total_caches(model);
  json.key("cache").begin_object();
  json.key("context_tokens").number(model.cache->context_tokens);
  json.key("batch").number(model.cache->batch);
  json.key("dtype").string(dtype_info(model.cache->dtype).torch_name);
  json.key("total_bytes").number(totals.bytes);
  json.key("bytes_per_token").number(totals.bytes_per_token);
  json.key("devices").begin_array();
  for (const DeviceUsage& usage : model.plan.devices) {
    if (usage.cache_bytes == 0) continue;
    json.begin_object().key("device");
    write_device(json, usage.device);
    json.key("cache_bytes").number(whole_bytes(usage.cache_bytes));
    json.key("bytes_per_token").number(usage.cache_bytes_per_token).end_object();
  }
  json.end_array().end_object();
}

}  // namespace

void write_plan_fields(JsonWriter& json, const PlannedModel& model, const PlanningOptions& options) {
  json.key("model_type").string_or_null(model.model_type());
  json.key("dtype").string(dtype_info(model.shell.dtype).torch_name);
  json.key("total_bytes").number(whole_bytes(model.sizes.weights(0)));
  json.key("hf_device_map").begin_object();
  for (const DeviceMapEntry& entry : model.plan.device_map) {
    json.key(entry.module);
    write_device(json, entry.device);
  }
  json.end_object();
  json.key("devices").begin_array();
  for (const DeviceUsage& usage : model.plan.devices) {
    json.begin_object().key("device");
    write_device(json, usage.device);
    json.key("budget_bytes");
    if (std::isfinite(usage.budget_bytes)) {
      json.number(static_cast<uint64_t>(usage.budget_bytes));
    } else {
      json.null();
    }
    json.key("used_bytes").number(whole_bytes(usage.used_bytes));
    json.key("reserved_bytes").number(whole_bytes(usage.reserved_bytes));
    if (model.cache) json.key("cache_bytes").number(whole_bytes(usage.cache_bytes));
    json.key("modules").number(usage.modules).end_object();
  }
  json.end_array();
  if (model.cache) write_cache(json, model);
  json.key("tied_weights").begin_array();
  for (const auto& group : model.tied_groups()) json.strings(group);
  json.end_array();
  json.key("warnings").strings(model.warnings);
  if (options.explain) write_explanation(json.key("explain"), model);
}

}  // namespace hfload::cli
