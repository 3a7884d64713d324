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
  messages.note(offload.entries.empty()
                    ? fmt::format("nothing is written to {}: no weights stay on the disk", folder)
                    : fmt::format("offload folder {}: {} written, {} used in place, index.json of all",
                                  folder, count_of(offload.written.size(), "tensor"),
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

}  // namespace

void report_outcome(const LoadOutcome& outcome, const LoadCommand& command, Messages& messages) {
  report_io(outcome.statistics, messages);
  report_bytes(outcome, messages);
  report_folder(outcome.offload, command.planning.offload_folder, messages);
}

std::string render_load_json(const PlannedModel& model, const LoadCommand& command, const KeyMatches& keys,
                             const LoadOutcome& outcome) {
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
  write_key_lists(json, list_keys(keys));
  json.end_object();
  return json.take();
}

}  // namespace hfload::cli
