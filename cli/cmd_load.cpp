#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "cli/commands.h"
#include "cli/key_report.h"
#include "cli/planning.h"
#include "cli/render_plan.h"
#include "cli/render_svg.h"
#include "cli/signals.h"
#include "cli/text.h"
#include "core/base/atomic_file.h"
#include "core/base/units.h"
#include "core/load/backend.h"
#include "core/load/loader.h"
#include "core/load/offload_folder.h"
#include "core/load/query_devices.h"
#include "core/model/match_keys.h"
#include "core/model/subset.h"

namespace hfload::cli {
namespace {

std::string path_in(const Checkpoint& checkpoint, const std::string& file) {
  const std::string& directory = checkpoint.location.directory;
  return fmt::format("{}{}{}", directory, directory.empty() || directory.ends_with('/') ? "" : "/", file);
}

/// Refuses, before anything is planned, a checkpoint whose weights are not here in a format that is read.
void require_weights(const Checkpoint& checkpoint) {
  if (checkpoint.shards.empty()) {
    Error error(ErrorCode::weights_not_found, "there are no weights to load");
    error.with_path(checkpoint.location.directory);
    const std::string& variants = checkpoint.location.variants_hint;
    throw error.with_hint(
        variants.empty() ? "Put model.safetensors, or a shard index and its shards, beside config.json."
                         : fmt::format("Weights of these variants are there: {}. Use --variant.", variants));
  }
}

/// Refuses shards that are not there or in another format; without `needed`, any of the checkpoint's.
void require_shards(const Checkpoint& checkpoint, const KeyMatches* needed) {
  std::vector<bool> is_needed(checkpoint.shards.size(), needed == nullptr);
  if (needed != nullptr) {
    for (const KeyMatch& match : needed->matches)
      is_needed[checkpoint.tensors[match.checkpoint].shard] = true;
  }
  const Shard* absent = nullptr;
  uint64_t absent_shards = 0;
  for (size_t i = 0; i < checkpoint.shards.size(); ++i) {
    if (!is_needed[i] || checkpoint.shards[i].present) continue;
    if (absent_shards++ == 0) absent = &checkpoint.shards[i];
  }
  if (absent != nullptr) {
    const auto count = static_cast<uint64_t>(std::count(is_needed.begin(), is_needed.end(), true));
    throw Error(ErrorCode::shard_missing, fmt::format("this shard does not exist, and {} of {} do not",
                                                      absent_shards, count_of(count, "shard")))
        .with_path(path_in(checkpoint, absent->file))
        .with_hint("Put the missing shards into the model directory. hfload plan needs none.");
  }
  for (size_t i = 0; i < checkpoint.shards.size(); ++i) {
    const Shard& shard = checkpoint.shards[i];
    if (!is_needed[i] || shard.is_read()) continue;
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

BackendFactory backend_factory(const MaxMemory& max_memory, bool emulate, std::shared_ptr<GdsLibrary> gds) {
  return [&max_memory, emulate, gds](Device device) {
    if (!device.is_gpu()) return make_host_backend();
    if (!emulate) return make_cuda_backend(device.ordinal, gds);
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

struct Outcome {
  LoadStatistics statistics;
  OffloadPlan offload;  ///< what was put into the offload folder; empty without one
  SubsetSkips skips;    ///< what --subset left out
  std::optional<uint64_t> verified_bytes;
  std::vector<std::pair<std::string, uint64_t>> hashes;  ///< by tensor, with --verify

  /// Bytes of the tensors on the disk, as they lie there.
  uint64_t offloaded_bytes() const {
    return statistics.offloaded_bytes - offload.source_bytes + offload.written_bytes;
  }
};

/// Loads, verifies, and lets go of the model again: what counts is that it can be done.
void load(const PlannedModel& model, LoadPlan plan, const LoadCommand& command, const Context& context,
          Outcome& outcome) {
  LoadOptions options;
  options.threads = command.threads;
  options.read_path = command.read_path;
  options.interrupted = [] { return received_signal() != 0; };
  const auto with_progress = [&](const char* action, auto&& work) {
    ProgressBar bar(context.common, context.environment, action);
    options.progress = [&](const LoadProgress& progress) { bar.update(progress); };
    return work();
  };
  const LoadedModel loaded = with_progress("loading", [&] {
    return execute(
        std::move(plan), model.checkpoint,
        backend_factory(model.max_memory, command.emulate_gpus, open_gds(model, command, context.messages)),
        options);
  });
  outcome.statistics = loaded.statistics;
  if (!gpus_of(model.plan.device_map).empty() && !command.emulate_gpus) {
    const std::optional<unsigned> node = loaded.statistics.numa_node;
    context.messages.detail(node
                                ? fmt::format("readers and staging memory were kept on NUMA node {}", *node)
                                : "readers ran on all CPUs: no one NUMA node is next to all that was filled");
  }
  with_progress("offloading", [&] { write_offload_folder(outcome.offload, model.checkpoint, options); });
  if (!command.verify) return;
  outcome.verified_bytes = with_progress("verifying", [&] {
    // verify compares what is on the disk with itself, through its mapping; the converted files are apart.
    const Verification verification = verify(loaded, model.shell.tree, model.checkpoint, options);
    for (const TensorHash& tensor : verification.hashes)
      outcome.hashes.emplace_back(model.shell.tree.tensors[tensor.tensor].name, tensor.hash);
    std::sort(outcome.hashes.begin(), outcome.hashes.end());
    return verification.compared_bytes - outcome.offload.source_bytes +
           verify_offload_folder(outcome.offload, model.checkpoint, options);
  });
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
  if (!folder.empty()) {
    OffloadPlan offload = plan_offload(plan, tree, model.checkpoint, folder);
    messages.detail(offload.entries.empty()
                        ? fmt::format("nothing is written to {}: no weights stay on the disk", folder)
                        : fmt::format("{} used in place, {} written into {}",
                                      count_of(offload.in_place_tensors, "tensor"),
                                      count_of(offload.written.size(), "tensor"), folder));
    return offload;
  }
  const auto converted = std::count_if(plan.placements.begin(), plan.placements.end(), changes);
  if (converted > 0) {
    messages.detail(
        fmt::format("{} on the disk will be converted whenever used; --offload-folder DIR keeps "
                    "converted copies",
                    count_of(static_cast<uint64_t>(converted), "tensor")));
  }
  return {};
}

void report_outcome(const Outcome& outcome, Messages& messages) {
  const LoadStatistics& done = outcome.statistics;
  constexpr double kBytesPerGb = 1e9, kShortestTimed = 0.1;  // a rate over less is noise
  std::string text = fmt::format("loaded {} in {:.2f} s",
                                 format_byte_size(static_cast<double>(done.loaded_bytes)), done.seconds);
  if (done.seconds > kShortestTimed) {
    text += fmt::format(" ({:.2f} GB/s)", static_cast<double>(done.read_bytes) / kBytesPerGb / done.seconds);
  }
  const auto in_place = static_cast<double>(done.offloaded_bytes - outcome.offload.source_bytes);
  if (done.mapped_bytes > 0)
    text += fmt::format("; {} mapped", format_byte_size(static_cast<double>(done.mapped_bytes)));
  if (in_place > 0) text += fmt::format("; {} stay on the disk", format_byte_size(in_place));
  if (outcome.offload.written_bytes > 0) {
    text += fmt::format("; {} written into {}",
                        format_byte_size(static_cast<double>(outcome.offload.written_bytes)),
                        outcome.offload.folder);
  }
  if (outcome.skips.bytes > 0) {
    text +=
        fmt::format("; {} left out by --subset", format_byte_size(static_cast<double>(outcome.skips.bytes)));
  }
  if (outcome.verified_bytes) {
    text += fmt::format("; verified {}", format_byte_size(static_cast<double>(*outcome.verified_bytes)));
  }
  messages.note(text);
}

const char* name_of(ReadPath path) {
  switch (path) {
    case ReadPath::pread:
      return "pread";
    case ReadPath::direct:
      return "direct";
    case ReadPath::mapping:
      return "mmap";
    case ReadPath::automatic:
      break;
  }
  return "auto";
}

void write_io(JsonWriter& json, ReadPath path, const LoadStatistics& done) {
  json.key("io").begin_object().key("path").string(name_of(path)).key("threads").number(done.threads);
  json.key("read_bytes").number(done.read_bytes);
  json.key("cached_bytes").number(done.reads.cached_bytes);
  json.key("buffered_bytes").number(done.reads.buffered_bytes);
  json.key("direct_bytes").number(done.reads.direct_bytes);
  json.key("mmap_bytes").number(done.reads.mapped_bytes);
  json.key("io_uring").boolean(done.reads.io_uring);
  json.key("mapped_bytes").number(done.mapped_bytes);
  json.key("small_page_bytes").number(done.small_page_bytes);
  const double rate = done.seconds > 0 ? static_cast<double>(done.read_bytes) / done.seconds : 0;
  json.key("bytes_per_second").number(static_cast<uint64_t>(rate)).end_object();
}

/// How the bytes came, for --verbose.
void report_io(const LoadStatistics& done, Messages& messages) {
  const auto part = [](uint64_t bytes, const char* how) {
    return bytes == 0 ? std::string()
                      : fmt::format(", {} {}", format_byte_size(static_cast<double>(bytes)), how);
  };
  if (done.read_bytes == 0) return;
  std::string text = fmt::format("read by {}", count_of(done.threads, "thread"));
  text += part(done.reads.cached_bytes, "from the page cache");
  text += part(done.reads.buffered_bytes, "through the page cache");
  text += part(done.reads.direct_bytes, done.reads.io_uring ? "around the page cache (O_DIRECT, io_uring)"
                                                            : "around the page cache (O_DIRECT)");
  text += part(done.reads.mapped_bytes, "copied from mappings");
  text += part(done.small_page_bytes, "into small pages, as huge ones cost more here");
  messages.detail(text);
}

std::string render_json(const PlannedModel& model, const LoadCommand& command, const KeyMatches& keys,
                        const Outcome& outcome) {
  JsonWriter json;
  json.begin_object().key("schema").string("hfload.load/1");
  write_plan_fields(json, model, command.planning);
  json.key("loaded_bytes").number(outcome.statistics.loaded_bytes);
  json.key("offloaded_bytes").number(outcome.offloaded_bytes());
  if (!outcome.offload.entries.empty()) {
    json.key("offload_folder").begin_object().key("path").string(outcome.offload.folder);
    json.key("in_place_tensors").number(outcome.offload.in_place_tensors);
    json.key("written_tensors").number(outcome.offload.written.size());
    json.key("written_bytes").number(outcome.offload.written_bytes).end_object();
  }
  if (!command.subset.empty()) {
    json.key("subset").strings(command.subset);
    json.key("skipped_bytes").number(outcome.skips.bytes);
  }
  json.key("seconds").seconds(outcome.statistics.seconds);
  write_io(json, command.read_path, outcome.statistics);
  if (outcome.verified_bytes) {
    json.key("verified_bytes").number(*outcome.verified_bytes);
    json.key("hashes").begin_object();
    for (const auto& [name, hash] : outcome.hashes) json.key(name).string(fmt::format("{:016x}", hash));
    json.end_object();
  }
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
  if (command.subset.empty()) require_shards(checkpoint, nullptr);
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
  KeyMatches keys = match_keys(model.shell.tree, model.checkpoint);
  report_lost_mappings(context.common.json);
  Outcome outcome;
  if (!command.subset.empty()) {
    outcome.skips = select_subset(keys, model.shell.tree, model.checkpoint, command.subset);
    require_shards(model.checkpoint, &keys);
  }
  require_keys(keys, command.key_mode, model.checkpoint, model.shell.tree.compat, context.messages);
  report_keys(keys, context.messages);

  // Where the user says which device takes what and gives no budgets, only the device itself may refuse.
  const bool has_budgets =
      model.user_set_memory || std::holds_alternative<Strategy>(command.planning.device_map);
  LoadPlan plan = make_load_plan(model.shell.tree, model.checkpoint, keys, model.plan.device_map,
                                 has_budgets ? memory_for_weights(model) : MaxMemory{}, command.map);
  outcome.offload = prepare_offload(model, plan, command.planning.offload_folder, context.messages);
  {
    const SignalWatch watch;
    load(model, std::move(plan), command, context, outcome);
  }
  report_io(outcome.statistics, context.messages);
  report_outcome(outcome, context.messages);
  write_standard_output(context.common.json ? render_json(model, command, keys, outcome)
                                            : escape_lines(format_device_map(model.plan.device_map)) + "\n");
}

}  // namespace hfload::cli
