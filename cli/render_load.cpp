#include "cli/render_load.h"

#include <fmt/core.h>

#include "cli/key_report.h"
#include "cli/render_plan.h"
#include "cli/text.h"
#include "core/base/units.h"

namespace hfload::cli {
namespace {

void report_bytes(const LoadOutcome& outcome, Messages& messages) {
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

/// What the folder of --offload-folder got.
void report_folder(const OffloadPlan& offload, const std::string& folder, Messages& messages) {
  if (folder.empty()) return;
  messages.note(offload.empty()
                    ? fmt::format("nothing is written to {}: no weights stay on the disk", folder)
                    : fmt::format("offload folder {}: {} written, {} used in place, index.json of all",
                                  folder, count_of(offload.written_tensors, "tensor"),
                                  offload.in_place_tensors));
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

const char* name_of(GdsLibrary::Mode mode) {
  switch (mode) {
    case GdsLibrary::Mode::peer_to_peer:
      return "p2p";
    case GdsLibrary::Mode::mixed:
      return "mixed";
    case GdsLibrary::Mode::compatibility:
      break;
  }
  return "compat";
}

void write_load_plan(JsonWriter& json, const Checkpoint& checkpoint, const LoadOutcome& outcome) {
  json.key("load_plan").begin_object().key("devices").begin_array();
  for (const DeviceSummary& device : outcome.devices) {
    json.begin_object().key("device");
    write_device(json, device.device);
    json.key("arena_bytes").number(device.arena_bytes);
    json.key("tensors").number(device.tensors).key("tensor_bytes").number(device.tensor_bytes);
    json.key("in_file_tensors").number(device.in_file_tensors);
    json.key("in_file_bytes").number(device.in_file_bytes).end_object();
  }
  json.end_array();
  if (outcome.reads) {
    json.key("shards").begin_array();
    for (const ShardSummary& shard : outcome.reads->shards) {
      json.begin_object().key("file").string(checkpoint.shards.at(shard.shard).file);
      json.key("tensors").number(shard.tensors).key("reads").number(shard.reads);
      json.key("read_bytes").number(shard.read_bytes).end_object();
    }
    json.end_array().key("threads").number(outcome.reads->threads);
    json.key("staging_bytes").number(outcome.reads->staging_bytes);
  }
  json.end_object();
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
  json.key("bytes_per_second").number(static_cast<uint64_t>(rate));
  json.key("numa_node");
  done.numa_node ? json.number(*done.numa_node) : json.null();
  json.key("gds");
  done.gds ? json.string(name_of(done.gds->mode)) : json.null();
  json.key("gds_bytes").number(done.gds ? done.gds->bytes : 0).end_object();
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

}  // namespace

void report_outcome(const LoadOutcome& outcome, const LoadCommand& command, Messages& messages) {
  report_io(outcome.statistics, messages);
  report_bytes(outcome, messages);
  report_folder(outcome.offload, command.planning.offload_folder, messages);
}

std::string render_load_plan(const Checkpoint& checkpoint, const LoadOutcome& outcome) {
  constexpr auto kLeft = TextTable::Align::left, kRight = TextTable::Align::right;
  const auto bytes = [](uint64_t number) { return group_digits(number) + " B"; };
  TextTable devices({kLeft, kRight, kRight, kRight, kRight, kRight});
  devices.add_row({"Device", "Arena", "Tensors", "Weights", "In files", "Left there"});
  for (const DeviceSummary& device : outcome.devices) {
    devices.add_row({to_string(device.device), bytes(device.arena_bytes), group_digits(device.tensors),
                     bytes(device.tensor_bytes), group_digits(device.in_file_tensors),
                     bytes(device.in_file_bytes)});
  }
  TextTable shards({kLeft, kRight, kRight, kRight});
  shards.add_row({"Shard", "Tensors", "Reads", "Bytes"});
  for (const ShardSummary& shard : outcome.reads->shards) {
    shards.add_row({escape_text(checkpoint.shards.at(shard.shard).file), group_digits(shard.tensors),
                    group_digits(shard.reads), bytes(shard.read_bytes)});
  }
  std::string text = devices.render() + '\n';
  text += outcome.reads->shards.empty() ? std::string("Nothing would be read.\n") : shards.render();
  text += fmt::format("\nStaging memory: at most {}, with {}\n", bytes(outcome.reads->staging_bytes),
                      count_of(outcome.reads->threads, "thread"));
  if (!outcome.offload.empty()) {
    text +=
        fmt::format("Offload folder {}: {} written, {}; {} used in place\n",
                    escape_text(outcome.offload.folder), count_of(outcome.offload.written_tensors, "tensor"),
                    bytes(outcome.offload.written_bytes), outcome.offload.in_place_tensors);
  }
  return text;
}

void write_load_json(const PlannedModel& model, const LoadCommand& command, const KeyMatches& keys,
                     const LoadOutcome& outcome, const TextSink& sink) {
  JsonWriter json(sink);
  json.begin_object().key("schema").string("hfload.load/1").key("dry_run").boolean(command.dry_run);
  write_plan_fields(json, model, command.planning);
  json.key("loaded_bytes").number(outcome.statistics.loaded_bytes);
  json.key("offloaded_bytes").number(outcome.offloaded_bytes());
  if (!outcome.offload.empty()) {
    json.key("offload_folder").begin_object().key("path").string(outcome.offload.folder);
    json.key("in_place_tensors").number(outcome.offload.in_place_tensors);
    json.key("written_tensors").number(outcome.offload.written_tensors);
    json.key("written_bytes").number(outcome.offload.written_bytes).end_object();
  }
  if (!command.subset.empty()) {
    json.key("subset").strings(command.subset);
    json.key("skipped_bytes").number(outcome.skips.bytes);
  }
  write_load_plan(json, model.checkpoint, outcome);
  json.key("seconds").seconds(outcome.statistics.seconds);
  json.key("total_seconds").seconds(outcome.total_seconds);
  if (!command.dry_run) write_io(json, command.read_path, outcome.statistics);
  if (outcome.verified_bytes) {
    json.key("verified_bytes").number(*outcome.verified_bytes);
    json.key("hashes").begin_object();
    for (const auto& [name, hash] : outcome.hashes.entries)
      json.key(name).string(fmt::format("{:016x}", hash));
    json.end_object();
  }
  write_key_lists(json, keys);
  json.end_object();
  json.finish();
}

}  // namespace hfload::cli
