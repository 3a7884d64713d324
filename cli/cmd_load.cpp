#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "cli/commands.h"
#include "cli/key_report.h"
#include "cli/load_requirements.h"
#include "cli/planning.h"
#include "cli/render_load.h"
#include "cli/render_plan.h"
#include "cli/render_svg.h"
#include "cli/signals.h"
#include "cli/text.h"
#include "core/base/atomic_file.h"
#include "core/base/units.h"
#include "core/check/copies.h"
#include "core/load/backend.h"
#include "core/load/host_memory.h"
#include "core/load/load_summary.h"
#include "core/load/loader.h"
#include "core/load/offload_folder.h"
#include "core/model/match_keys.h"
#include "core/model/saved_copies.h"
#include "core/model/subset.h"

namespace hfload::cli {
namespace {

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

BackendFactory backend_factory(const MaxMemory& max_memory, bool emulate, RingSize ring,
                               std::shared_ptr<GdsLibrary> gds) {
  return [&max_memory, emulate, ring, gds](Device device) {
    if (!device.is_gpu()) return make_host_backend();
    if (!emulate) return make_cuda_backend(device.ordinal, gds, ring);
    return make_emulated_gpu_backend(device.ordinal, gpu_budget(max_memory, device.ordinal).value_or(0));
  };
}

/// GPUDirect Storage where it is asked for, and there is a GPU that could use it.
std::shared_ptr<GdsLibrary> open_gds(const PlannedModel& model, const LoadCommand& command,
                                     Messages& messages) {
  if (!command.gds) return nullptr;
  if (gpus_of(model.plan.device_map).empty()) {
    messages.note("GPUDirect Storage: not used, nothing is placed on a GPU");
    return nullptr;
  }
  auto gds = std::make_shared<GdsLibrary>();
  messages.note(
      gds->mode() == GdsLibrary::Mode::peer_to_peer
          ? "GPUDirect Storage: p2p, from the disk into the GPU's memory"
          : "GPUDirect Storage: compat, through the host's memory, as the nvidia-fs driver is not loaded");
  return gds;
}

LoadOptions load_options(const LoadCommand& command) {
  LoadOptions options;
  options.threads = command.threads;
  options.read_path = command.read_path;
  options.interrupted = [] { return received_signal() != 0; };
  return options;
}

void add_name_hashes(std::vector<TensorHash> hashes, const PlannedModel& model, NameHashes& named) {
  std::ranges::sort(hashes, {}, &TensorHash::tensor);
  named.entries.reserve(model.kept_objects.size());
  model.kept_names.for_each([&, object = model.kept_objects.begin()](std::string_view name) mutable {
    const TensorId tensor = *object++;
    const auto at = std::ranges::lower_bound(hashes, tensor, {}, &TensorHash::tensor);
    if (at == hashes.end() || at->tensor != tensor) return;
    named.entries.push_back({PooledText::of_pool(named.texts.add(name)), at->hash});
  });
  std::ranges::sort(named.entries, {}, [](const NameHashes::Entry& entry) { return entry.name.view(); });
}

/// Loads, verifies, and lets go of the model again: what counts is that it can be done.
/// Returns the hashes that --verify asks for.
std::vector<TensorHash> load(const PlannedModel& model, LoadPlan plan, const LoadCommand& command,
                             const Context& context, std::shared_ptr<GdsLibrary> gds,
                             std::chrono::steady_clock::time_point begin, LoadOutcome& outcome) {
  LoadOptions options = load_options(command);
  const auto with_progress = [&](const char* action, auto&& work) {
    ProgressBar bar(context.common, context.environment, action);
    options.progress = [&](const LoadProgress& progress) { bar.update(progress); };
    return work();
  };
  const RingSize ring = ring_of(plan, command.emulate_gpus);
  std::optional<LoadedModel> loaded = with_progress("loading", [&] {
    return execute(std::move(plan), model.checkpoint,
                   backend_factory(model.max_memory, command.emulate_gpus, ring, std::move(gds)), options);
  });
  outcome.total_seconds = seconds_since(begin);
  outcome.statistics = loaded->statistics;
  outcome.devices = summarize_devices(loaded->plan);
  stop_if_interrupted();
  if (!gpus_of(model.plan.device_map).empty() && !command.emulate_gpus) {
    const std::optional<unsigned> node = loaded->statistics.numa_node;
    context.messages.detail(node
                                ? fmt::format("readers and staging memory were kept on NUMA node {}", *node)
                                : "readers ran on all CPUs: no one NUMA node is next to all that was filled");
  }
  Verification verification;
  if (command.verify) {
    verification = with_progress("verifying", [&] { return verify(*loaded, model.checkpoint, options); });
  }
  loaded.reset();
  with_progress("offloading", [&] { write_offload_folder(outcome.offload, model.checkpoint, options); });
  if (command.verify) {
    // Above, what is on the disk was compared with itself, through its mapping; the converted files are
    // apart.
    outcome.verified_bytes =
        verification.compared_bytes - outcome.offload.source_bytes + with_progress("verifying", [&] {
          return verify_offload_folder(outcome.offload, model.checkpoint, options);
        });
  }
  return std::move(verification.hashes);
}

/// Says which tensors a load drops though their values are not those that fill the parameter.
void warn_of_differing_copies(const std::vector<SavedCopy>& copies, PlannedModel& model,
                              const LoadCommand& command, Messages& messages) {
  if (copies.empty()) return;
  const auto source = open_tensor_source(model.checkpoint, AbsentShards::allow);
  const CheckRun run{command.threads, nullptr, [] { return received_signal() != 0; }};
  for (const SavedCopy& copy : find_differing_copies(model.checkpoint, *source, copies, run)) {
    model.warnings.push_back(
        fmt::format("{} is dropped: {} fills its place, as the two are tied, and the checkpoint holds other "
                    "values for it",
                    model.checkpoint.tensors[copy.dropped].name.view(),
                    model.checkpoint.tensors[copy.loaded].name.view()));
    messages.warning(model.warnings.back());
  }
}

/// What a load by this plan would do. Says where it would end for lack of memory here: that is a fact about
/// now and about this machine, and no failure of a plan.
void look_ahead(const PlannedModel& model, const LoadPlan& plan, const LoadCommand& command,
                const Context& context, std::chrono::steady_clock::time_point begin, LoadOutcome& outcome) {
  outcome.devices = summarize_devices(plan);
  outcome.reads = summarize_reads(plan, model.checkpoint, load_options(command),
                                  {.emulate_gpus = command.emulate_gpus, .gds = command.gds});
  outcome.statistics.offloaded_bytes = plan.disk_bytes;
  outcome.statistics.mapped_bytes = plan.mapped_bytes;
  uint64_t host_bytes = 0;
  for (const DeviceSummary& device : outcome.devices) {
    outcome.statistics.loaded_bytes += device.tensor_bytes;
    if (!device.device.is_gpu() || command.emulate_gpus) host_bytes += device.arena_bytes;
  }
  outcome.total_seconds = seconds_since(begin);
  const std::optional<HostRoom> room = host_room();
  if (room && host_bytes > room->bytes) {
    context.messages.warning(
        fmt::format("the weights placed in the host's memory need {}; {} are available now, so that a load "
                    "would end with out_of_memory",
                    format_byte_size(static_cast<double>(host_bytes)),
                    format_byte_size(static_cast<double>(room->bytes))));
  }
  if (command.verify) context.messages.note("nothing is verified: --dry-run reads no weights");
  context.messages.block(render_load_plan(model.checkpoint, outcome));
}

/// What becomes of the tensors that stay on the disk, before they are loaded.
OffloadPlan prepare_offload(const PlannedModel& model, const LoadPlan& plan, const std::string& folder,
                            Messages& messages) {
  const ModuleTree& tree = model.shell.tree;
  const auto on_disk = [](const TensorPlacement& p) { return p.device == Device::disk(); };
  const auto changes = [&](const TensorPlacement& p) {
    return on_disk(p) &&
           (p.dtype != tree.tensors[p.tensor].dtype || !model.checkpoint.tensors[p.checkpoint].is_in_place());
  };
  if (!folder.empty()) return plan_offload(plan, tree, model.checkpoint, folder);
  const auto converted = std::count_if(plan.placements.begin(), plan.placements.end(), changes);
  if (converted > 0) {
    messages.detail(
        fmt::format("{} on the disk will be converted whenever used; --offload-folder DIR keeps "
                    "converted copies",
                    count_of(static_cast<uint64_t>(converted), "tensor")));
  }
  return {};
}

}  // namespace

void run_load(const LoadCommand& command, const Context& context) {
  const auto begin = std::chrono::steady_clock::now();
  Checkpoint checkpoint = open_model(command.model, context.environment);
  report_model(checkpoint, context.messages);
  require_weights(checkpoint);
  if (command.subset.empty()) require_shards(checkpoint, nullptr);
  PlannedModel model = plan_model(std::move(checkpoint), command.planning);
  report_planning(model, command.planning, context.messages);
  if (command.planning.explain) context.messages.block(render_explanation(model, command.planning));
  if (const std::string caches = render_caches(model); !caches.empty()) context.messages.table(caches);
  if (!command.planning.svg.empty()) write_file_atomically(command.planning.svg, render_svg(model));
  release_placement(model);
  release_modules(model);
  require_gpus(model, command.emulate_gpus, context.messages);
  for (const std::string& name : untie_saved_parameters(model.shell.tree, model.checkpoint)) {
    context.messages.warning(
        fmt::format("the config ties {}, and the checkpoint holds it as well: it is loaded as a tensor of "
                    "its own, which the "
                    "device map does not count",
                    escape_text(name)));
  }
  KeyMatches keys = match_keys(model.shell.tree, model.checkpoint);
  std::vector<SavedCopy> copies = find_saved_copies(model.shell.tree, model.checkpoint, keys);
  release_shell_names(keys);
  report_lost_mappings(context.common.json);
  LoadOutcome outcome;
  if (!command.subset.empty()) {
    outcome.skips = select_subset(keys, model.shell.tree, model.checkpoint, command.subset);
    require_shards(model.checkpoint, &keys);
    std::erase_if(copies, [&](const SavedCopy& copy) {
      return !std::ranges::binary_search(keys.matches, copy.loaded, {}, &KeyMatch::checkpoint);
    });
  }
  require_keys(keys, command.key_mode, model.checkpoint, model.shell.tree.compat, context.messages);
  report_keys(keys, context.messages);

  // Where the user says which device takes what and gives no budgets, only the device itself may refuse.
  const bool has_budgets =
      model.user_set_memory || std::holds_alternative<Strategy>(command.planning.device_map);
  LoadPlan plan = make_load_plan(model.shell.tree, model.checkpoint, keys, model.plan.device_map,
                                 has_budgets ? memory_for_weights(model) : MaxMemory{}, command.map);
  release_matches(keys);
  outcome.offload = prepare_offload(model, plan, command.planning.offload_folder, context.messages);
  release_planning_data(model, command.verify && context.common.json);
  require_usable_folder(outcome.offload);
  std::shared_ptr<GdsLibrary> gds = open_gds(model, command, context.messages);
  if (command.dry_run) {
    look_ahead(model, plan, command, context, begin, outcome);
  } else {
    const SignalWatch watch;
    std::vector<TensorHash> hashes =
        load(model, std::move(plan), command, context, std::move(gds), begin, outcome);
    warn_of_differing_copies(copies, model, command, context.messages);
    stop_if_interrupted();
    // Once the weights are gone, and what the checkpoint lists, as 10^5 names are megabytes.
    release_checkpoint_tensors(model, outcome.offload);
    if (context.common.json) add_name_hashes(std::move(hashes), model, outcome.hashes);
  }
  if (!command.dry_run) report_outcome(outcome, command, context.messages);
  if (context.common.json) {
    write_load_json(model, command, keys, outcome, write_standard_output);
  } else {
    write_standard_output(escape_lines(format_device_map(model.plan.device_map)) + "\n");
  }
}

}  // namespace hfload::cli
