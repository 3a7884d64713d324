#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/json_writer.h"
#include "core/base/error.h"
#include "core/save/convert.h"

namespace hfload::cli {

enum class ConvertStatus : uint8_t { failed, planned, converted, skipped };

/// A file of an output.
struct ConvertedFile {
  std::string name;
  uint64_t tensors = 0;
  uint64_t bytes = 0;
};

/// What became of one model. Holds no more of its plan than is printed, as there may be many.
struct ConvertReport {
  std::string source, destination;
  ConvertStatus status = ConvertStatus::failed;
  std::vector<ConvertedFile> files = {};  ///< weights, then what is written from memory, then what is copied
  uint64_t tensors = 0;
  uint64_t tensor_bytes = 0;
  uint64_t output_bytes = 0;
  uint64_t converted_tensors = 0;
  std::vector<std::string> dropped = {}, duplicated = {};
  uint64_t free_bytes = 0;  ///< of the destination's disk, before anything was written
  bool replaces = false;    ///< what is at the destination, as a dry run finds
  bool outdated = false;    ///< what is, or was, there is this output of an earlier state of the source
  double seconds = 0;
  std::vector<std::string> warnings = {};
  std::optional<Error> error = std::nullopt;

  void set_plan(const ConvertPlan& plan);
};

/// "converted ./a to ./b: 3 files, 1.25 GiB", with a line feed.
std::string render_conversion_line(const ConvertReport& report);
/// What --dry-run prints of one model: its line, the files with their tensors and bytes, what is needed, and
/// what is free.
std::string render_conversion_plan(const ConvertReport& report);
/// Of one model: bytes, seconds, what was cast, dropped or added.
std::string render_rate(const ConvertReport& report);
/// Of many: "3 models: 2 converted, 1 skipped".
std::string render_summary(std::span<const ConvertReport> reports);
/// The document of --json, hfload.convert/1; of one of several models on one line.
std::string render_conversion_json(const ConvertReport& report, bool dry_run, JsonLayout layout);

}  // namespace hfload::cli
