#include "core/check/structure.h"

#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>

#include "core/base/error.h"
#include "core/check/links.h"
#include "core/check/weight_files.h"
#include "core/format/byte_source.h"
#include "core/format/zip_archive.h"
#include "core/model/findings.h"

namespace hfload {
namespace {

/// "config.json: hidden_size is not an integer from 0 to 281474976710656".
std::string described(const Error& error) {
  const std::string& path = error.path();
  if (path.empty()) return error.message();
  return fmt::format("{}: {}", path.substr(path.rfind('/') + 1), error.message());
}

std::string archive_start(const RegularFile& file) {
  constexpr uint64_t kBytes = 4;
  std::string start(std::min(kBytes, file.identity.bytes), '\0');
  read_exactly(file, 0, std::as_writable_bytes(std::span(start)));
  return start;
}

/// A directory that may be searched and not listed holds a model that can be loaded.
void add_other_weights(const Checkpoint& checkpoint, StructureReport& report) {
  try {
    std::ranges::move(find_other_weights(checkpoint), std::back_inserter(report.findings));
  } catch (const Error& error) {
    report.warnings.push_back(fmt::format(
        "other weights were not looked for, as the directory cannot be listed: {}", error.message()));
  }
}

/// transformers 4.57 refuses safetensors files with metadata that name no framework (`load_state_dict`).
void warn_of_metadata(const Checkpoint& checkpoint, std::vector<std::string>& warnings) {
  constexpr std::string_view kFormats[] = {"pt", "tf", "flax", "mlx"};
  for (const Shard& shard : checkpoint.shards) {
    if (shard.format != ShardFormat::safetensors || shard.metadata.empty()) continue;
    const auto format =
        std::ranges::find(shard.metadata, "format", &std::pair<std::string, std::string>::first);
    const bool is_named = format != shard.metadata.end();
    if (is_named && std::ranges::find(kFormats, format->second) != std::end(kFormats)) continue;
    warnings.push_back(
        fmt::format("{}: the metadata give {}, and transformers 4.57 refuses such files; hfload convert "
                    "writes format \"pt\"",
                    shard.file, is_named ? fmt::format("the format \"{}\"", format->second) : "no format"));
  }
}

}  // namespace

StructureReport check_structure(const Checkpoint& checkpoint) {
  StructureReport report;
  warn_of_metadata(checkpoint, report.warnings);
  std::string unknown = "the model's class is not known: names and shapes are not compared with it";
  try {
    if (std::optional<Shell> shell = build_known_shell(checkpoint, {})) {
      std::ranges::move(shell->warnings, std::back_inserter(report.warnings));
      ShellComparison comparison = compare_with_checkpoint(*shell, checkpoint);
      report.findings = std::move(comparison.findings);
      report.copies = std::move(comparison.copies);
      unknown.clear();
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::unsupported_architecture) {
      unknown = error.message() + ": names and shapes are not compared with the model's class";
    } else if (error.exit_status() == 3) {
      report.findings.push_back({error_code_info(error.code()).name, described(error), {}, error.hint()});
      unknown.clear();
    } else {
      throw;
    }
  }
  if (!unknown.empty()) {
    report.warnings.push_back(std::move(unknown));
    report.findings = compare_total_size(checkpoint);
  }
  // Whether such copies are harmless is for check_copies to say, once their values are read.
  std::erase_if(report.findings, [](const Finding& f) { return f.code == "tied_weights_saved"; });
  add_other_weights(checkpoint, report);
  std::ranges::move(find_links_that_leave(checkpoint), std::back_inserter(report.findings));
  return report;
}

bool is_fault(const Finding& finding) {
  constexpr std::string_view kNotes[] = {
      "constant_tensors",  "edited_since_download", "empty_tensors", "holes",
      "ignored_keys",      "legacy_buffers",        "links_leave",   "other_weights",
      "tied_weights_saved"};
  return std::ranges::find(kNotes, finding.code) == std::end(kNotes);
}

std::vector<Finding> check_archives(const Checkpoint& checkpoint, const CheckRun& run) {
  std::vector<TensorPiece> pieces;  // of which `tensor` is the shard
  std::vector<ZipMember> members;
  for (uint32_t s = 0; s < checkpoint.shards.size(); ++s) {
    const Shard& shard = checkpoint.shards[s];
    if (!shard.present || shard.damaged || shard.format != ShardFormat::pytorch) continue;
    const RegularFile file = reopen_shard(checkpoint, s);
    if (!is_zip(archive_start(file))) continue;
    for (ZipMember& member : read_zip_archive(FileSource(file)).members) {
      pieces.push_back({s, member.data_offset, member.bytes});
      members.push_back(std::move(member));
    }
  }
  std::mutex mutex;
  std::map<uint32_t, std::vector<std::string>> wrong;
  run_pieces(pieces, {run.threads, nullptr, run.interrupted}, [&](size_t index, unsigned) {
    const RegularFile file = reopen_shard(checkpoint, pieces[index].tensor);
    if (zip_member_crc(FileSource(file), members[index]) == members[index].crc) return;
    const std::lock_guard lock(mutex);
    wrong[pieces[index].tensor].push_back(members[index].name);
  });
  std::vector<Finding> findings;
  for (auto& [shard, names] : wrong) {
    std::ranges::sort(names);
    findings.push_back(
        {"wrong_checksum",
         fmt::format("{}: the CRC-32 of {} member{} of the archive is wrong", checkpoint.shards[shard].file,
                     names.size(), names.size() == 1 ? "" : "s"),
         std::move(names)});
  }
  return findings;
}

}  // namespace hfload
