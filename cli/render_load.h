#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/options.h"
#include "cli/planning.h"
#include "cli/terminal.h"
#include "core/base/text_pool.h"
#include "core/base/text_sink.h"
#include "core/load/load_summary.h"
#include "core/load/loader.h"
#include "core/load/offload_folder.h"
#include "core/model/match_keys.h"
#include "core/model/subset.h"

namespace hfload::cli {

/// A checksum for each of the model's names, sorted; a tied tensor's stands at each of its names. There may
/// be 10^5 and more.
struct NameHashes {
  struct Entry {
    PooledText name;  ///< of `texts`
    uint64_t hash = 0;
  };
  TextPool texts;
  std::vector<Entry> entries;
};

/// What a load did, or, where it is a dry run, would do.
struct LoadOutcome {
  LoadStatistics statistics;
  double total_seconds = 0;            ///< from the opening of the model to the last copy
  std::vector<DeviceSummary> devices;  ///< what each of them holds
  std::optional<ReadSummary> reads;    ///< of a dry run
  OffloadPlan offload;                 ///< what was put into the offload folder; empty without one
  SubsetSkips skips;                   ///< what --subset left out
  std::optional<uint64_t> verified_bytes;
  NameHashes hashes;  ///< with --verify and --json

  /// Bytes of the tensors on the disk, as they lie there.
  uint64_t offloaded_bytes() const {
    return statistics.offloaded_bytes - offload.source_bytes + offload.written_bytes;
  }
};

/// One line about bytes and seconds, one about the offload folder, and with --verbose one about how the bytes
/// came.
void report_outcome(const LoadOutcome& outcome, const LoadCommand& command, Messages& messages);

/// What --dry-run prints: tables of what each device would hold and of what would be read of each shard, the
/// staging memory, and what the offload folder would get.
std::string render_load_plan(const Checkpoint& checkpoint, const LoadOutcome& outcome);

/// The document of --json, hfload.load/1.
void write_load_json(const PlannedModel& model, const LoadCommand& command, const KeyMatches& keys,
                     const LoadOutcome& outcome, const TextSink& sink);

}  // namespace hfload::cli
