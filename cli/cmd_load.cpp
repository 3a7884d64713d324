#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <span>
#include <utility>

#include "cli/commands.h"
#include "cli/planning.h"
#include "cli/render_plan.h"
#include "cli/render_svg.h"
#include "cli/signals.h"
#include "cli/text.h"
#include "core/base/atomic_file.h"
#include "core/base/units.h"
#include "core/load/backend.h"
#include "core/load/loader.h"
#include "core/load/query_devices.h"
#include "core/model/match_keys.h"

namespace hfload::cli {
namespace {

std::string path_in(const Checkpoint& checkpoint, const std::string& file) {
  const std::string& directory = checkpoint.location.directory;
  return fmt::format("{}{}{}", directory, directory.empty() || directory.ends_with('/') ? "" : "/", file);
}

/// Refuses, before anything is planned, a checkpoint whose weights are not all here in a format that is read.
void require_weights(const Checkpoint& checkpoint) {
  if (checkpoint.shards.empty()) {
    Error error(ErrorCode::weights_not_found, "there are no weights to load");
    error.with_path(checkpoint.location.directory);
    const std::string& variants = checkpoint.location.variants_hint;
    throw error.with_hint(
        variants.empty() ? "Put model.safetensors, or a shard index and its shards, beside config.json."
                         : fmt::format("Weights of these variants are there: {}. Use --variant.", variants));
  }
  if (const Shard* missing = checkpoint.first_missing_shard()) {
    const auto is_absent = [](const Shard& shard) { return !shard.present; };
    const auto absent = std::count_if(checkpoint.shards.begin(), checkpoint.shards.end(), is_absent);
    throw Error(ErrorCode::shard_missing, fmt::format("this shard does not exist, and {} of {} do not",
                                                      absent, count_of(checkpoint.shards.size(), "shard")))
        .with_path(path_in(checkpoint, missing->file))
        .with_hint("Put the missing shards into the model directory. hfload plan needs none.");
  }
  for (const Shard& shard : checkpoint.shards) {
    if (shard.is_read()) continue;
    throw Error(ErrorCode::unsupported_format,
                "this is neither a safetensors file nor a PyTorch checkpoint, and load reads no other format")
        .with_path(path_in(checkpoint, shard.file))
        .with_hint("Save the model as safetensors first, for example with save_pretrained of transformers.");
  }
}

std::set<uint32_t> gpus_of(const DeviceMap& map) {
  std::set<uint32_t> gpus;
  for (const DeviceMapEntry& entry : map) {
    if (entry.device.is_gpu()) gpus.insert(entry.device.ordinal);
  }
  return gpus;
}

/// Budget of a GPU in bytes; nothing where --max-memory does not name it.
std::optional<uint64_t> gpu_budget(const MaxMemory& max_memory, uint32_t ordinal) {
  for (const DeviceMemory& memory : max_memory) {
    if (memory.device == Device::gpu(ordinal)) return static_cast<uint64_t>(memory.bytes);
  }
  return std::nullopt;
}

void require_gpus(const PlannedModel& model, bool emulate) {
  const std::set<uint32_t> gpus = gpus_of(model.plan.device_map);
  if (gpus.empty()) return;
  if (emulate) {
    for (const uint32_t ordinal : gpus) {
      if (gpu_budget(model.max_memory, ordinal)) continue;
      throw Error(ErrorCode::usage, fmt::format("--emulate-gpus has no budget for GPU {}", ordinal))
          .with_hint(fmt::format("Name it in --max-memory, as in --max-memory {}=8GiB,cpu=16GiB.", ordinal));
    }
    return;
  }
  const CudaStatus status = cuda_status();
  const std::string hint = "Use --emulate-gpus to run the whole path in host memory, or --device-map cpu.";
  if (status.devices == 0) {
    std::string reason = status.reason;
    while (reason.ends_with('.')) reason.pop_back();
    throw Error(ErrorCode::no_cuda, fmt::format("the plan uses GPU {}, but {}", *gpus.begin(), reason))
        .with_hint(hint);
  }
  for (const uint32_t ordinal : gpus) {
    if (ordinal < static_cast<uint32_t>(status.devices)) continue;
    throw Error(ErrorCode::no_cuda, fmt::format("the plan uses GPU {}, but this machine has {}", ordinal,
                                                count_of(static_cast<uint64_t>(status.devices), "GPU")))
        .with_hint(hint);
  }
}

std::string describe(const MismatchedKey& key) {
  return fmt::format("{}: {} in the checkpoint, {} in the model", key.name,
                     format_shape(key.checkpoint_shape), format_shape(key.model_shape));
}

std::string list_keys(const KeyMatches& keys) {
  std::string text;
  if (!keys.missing_keys.empty()) text += "Missing from the checkpoint:\n";
  for (const std::string& name : keys.missing_keys) text += "  " + escape_text(name) + '\n';
  if (!keys.mismatched_keys.empty()) text += "Of another shape:\n";
  for (const MismatchedKey& key : keys.mismatched_keys) text += "  " + escape_text(describe(key)) + '\n';
  return text;
}

/// All that does not match is listed together; the error names the first.
void require_all_keys(const KeyMatches& keys, const Checkpoint& checkpoint, Compat compat,
                      Messages& messages) {
  if (keys.missing_keys.empty() && keys.mismatched_keys.empty()) return;
  messages.block(list_keys(keys));
  if (keys.missing_keys.empty()) {
    throw Error(ErrorCode::mismatched_keys,
                fmt::format("{} of the checkpoint {} another shape than the model's; the first is {}",
                            count_of(keys.mismatched_keys.size(), "tensor"),
                            keys.mismatched_keys.size() == 1 ? "has" : "have",
                            describe(keys.mismatched_keys.front())))
        .with_path(checkpoint.location.directory)
        .with_tensor(keys.mismatched_keys.front().name)
        .with_hint(
            "config.json and the weights are of different models; compare them with hfload inspect "
            "--tensors.");
  }
  std::string message = fmt::format("the checkpoint lacks {} of the model; the first is {}",
                                    count_of(keys.missing_keys.size(), "tensor"), keys.missing_keys.front());
  if (!keys.mismatched_keys.empty()) {
    message += fmt::format("; {} of another shape", count_of(keys.mismatched_keys.size(), "tensor is"));
  }
  throw Error(ErrorCode::missing_keys, message)
      .with_path(checkpoint.location.directory)
      .with_tensor(keys.missing_keys.front())
      .with_hint(compat == Compat::v5 && !keys.unexpected_keys.empty()
                     ? "transformers 5 gives modules of this class other names than the checkpoint has, and "
                       "converts the weights while it loads them (it makes one tensor of a layer's experts). "
                       "hfload converts none: load with --compat 4."
                     : "Check that config.json names the class the weights were saved from (architectures).");
}

void report_keys(const KeyMatches& keys, Messages& messages) {
  if (!keys.renamed_keys.empty()) {
    const auto& [legacy, modern] = keys.renamed_keys.front();
    messages.detail(fmt::format("{} had a legacy name, such as {} for {}",
                                count_of(keys.renamed_keys.size(), "tensor"), legacy, modern));
  }
  if (keys.unexpected_keys.empty()) return;
  constexpr size_t kShown = 10;
  const std::span<const std::string> shown(keys.unexpected_keys.data(),
                                           std::min(kShown, keys.unexpected_keys.size()));
  messages.warning(fmt::format("the model does not use {} of the checkpoint: {}{}",
                               count_of(keys.unexpected_keys.size(), "tensor"), fmt::join(shown, ", "),
                               shown.size() < keys.unexpected_keys.size() ? ", …" : ""));
}

BackendFactory backend_factory(const MaxMemory& max_memory, bool emulate) {
  return [&max_memory, emulate](Device device) {
    if (!device.is_gpu()) return make_host_backend();
    if (!emulate) return make_cuda_backend(device.ordinal);
    return make_emulated_gpu_backend(device.ordinal, gpu_budget(max_memory, device.ordinal).value_or(0));
  };
}

struct Outcome {
  LoadStatistics statistics;
  std::optional<uint64_t> verified_bytes;
};

/// Loads, verifies, and lets go of the model again: what counts is that it can be done.
Outcome load(const PlannedModel& model, LoadPlan plan, const LoadCommand& command, const Context& context) {
  Outcome outcome;
  LoadOptions options;
  options.threads = command.threads;
  options.interrupted = [] { return received_signal() != 0; };
  ProgressBar loading(context.common, context.environment, "loading");
  options.progress = [&](const LoadProgress& progress) { loading.update(progress); };
  const LoadedModel loaded = execute(std::move(plan), model.checkpoint,
                                     backend_factory(model.max_memory, command.emulate_gpus), options);
  loading.clear();
  outcome.statistics = loaded.statistics;
  if (command.verify) {
    ProgressBar verifying(context.common, context.environment, "verifying");
    options.progress = [&](const LoadProgress& progress) { verifying.update(progress); };
    outcome.verified_bytes = verify(loaded, model.shell.tree, model.checkpoint, options);
  }
  return outcome;
}

void report_outcome(const Outcome& outcome, Messages& messages) {
  const LoadStatistics& done = outcome.statistics;
  constexpr double kBytesPerGb = 1e9, kShortestTimed = 0.1;  // a rate over less is noise
  std::string text = fmt::format("loaded {} in {:.2f} s",
                                 format_byte_size(static_cast<double>(done.loaded_bytes)), done.seconds);
  if (done.seconds > kShortestTimed) {
    text += fmt::format(" ({:.2f} GB/s)", static_cast<double>(done.read_bytes) / kBytesPerGb / done.seconds);
  }
  if (done.offloaded_bytes > 0) {
    text += fmt::format("; {} stay on the disk", format_byte_size(static_cast<double>(done.offloaded_bytes)));
  }
  if (outcome.verified_bytes) {
    text += fmt::format("; verified {}", format_byte_size(static_cast<double>(*outcome.verified_bytes)));
  }
  messages.note(text);
}

std::string render_json(const PlannedModel& model, const PlanningOptions& options, const KeyMatches& keys,
                        const Outcome& outcome) {
  JsonWriter json;
  json.begin_object().key("schema").string("hfload.load/1");
  write_plan_fields(json, model, options);
  json.key("loaded_bytes").number(outcome.statistics.loaded_bytes);
  json.key("offloaded_bytes").number(outcome.statistics.offloaded_bytes);
  json.key("seconds").seconds(outcome.statistics.seconds);
  if (outcome.verified_bytes) json.key("verified_bytes").number(*outcome.verified_bytes);
  json.key("missing_keys").strings(keys.missing_keys);
  json.key("unexpected_keys").strings(keys.unexpected_keys);
  json.key("mismatched_keys").begin_array();
  for (const MismatchedKey& key : keys.mismatched_keys) json.string(key.name);
  json.end_array().end_object();
  return json.take();
}

}  // namespace

void run_load(const LoadCommand& command, const Context& context) {
  Checkpoint checkpoint = open_model(command.model, context.environment);
  report_model(checkpoint, context.messages);
  require_weights(checkpoint);
  PlannedModel model = plan_model(std::move(checkpoint), command.planning);
  report_planning(model, command.planning, context.messages);
  if (command.planning.explain) context.messages.block(render_explanation(model, command.planning));
  if (const std::string caches = render_caches(model); !caches.empty()) context.messages.table(caches);
  if (!command.planning.svg.empty()) write_file_atomically(command.planning.svg, render_svg(model));
  require_gpus(model, command.emulate_gpus);
  for (const std::string& name : untie_saved_parameters(model.shell.tree, model.checkpoint)) {
    context.messages.warning(
        fmt::format("the config ties {}, and the checkpoint holds it as well: it is loaded as a tensor of "
                    "its own, which the "
                    "device map does not count",
                    escape_text(name)));
  }
  const KeyMatches keys = match_keys(model.shell.tree, model.checkpoint);
  require_all_keys(keys, model.checkpoint, model.shell.tree.compat, context.messages);
  report_keys(keys, context.messages);

  // Where the user says which device takes what and gives no budgets, only the device itself may refuse.
  const bool has_budgets =
      model.user_set_memory || std::holds_alternative<Strategy>(command.planning.device_map);
  LoadPlan plan = make_load_plan(model.shell.tree, model.checkpoint, keys, model.plan.device_map,
                                 has_budgets ? memory_for_weights(model) : MaxMemory{});
  Outcome outcome;
  {
    const SignalWatch watch;
    outcome = load(model, std::move(plan), command, context);
  }
  report_outcome(outcome, context.messages);
  write_standard_output(context.common.json ? render_json(model, command.planning, keys, outcome)
                                            : escape_lines(format_device_map(model.plan.device_map)) + "\n");
}

}  // namespace hfload::cli
