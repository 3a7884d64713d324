#include <fmt/core.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/json_writer.h"
#include "cli/text.h"
#include "core/base/file.h"
#include "core/base/join.h"
#include "core/format/pickle_file_scan.h"
#include "core/model/pickle_files.h"

namespace hfload::cli {
namespace {

constexpr size_t kMostErrorsOfFile = 5;

struct ScannedFile {
  std::string path;
  FileScan scan;
};

/// What was found, and what was not looked into.
struct ScanReport {
  std::vector<ScannedFile> files;
  std::vector<std::string> skipped;  ///< named by the user, and no pickles
  std::vector<Error> faults;         ///< of what could not be read

  uint64_t count(GlobalVerdict verdict) const {
    uint64_t count = 0;
    for (const ScannedFile& file : files) count += file.scan.count(verdict);
    return count;
  }
};

/// A file in which a scan finds nothing to look into is named only where the user has named it.
void scan_file(std::string path, bool is_named, ScanReport& report) {
  try {
    const RegularFile file = open_regular_file(path);
    FileScan scan = scan_pickle_file(FileSource(file), name_for_scan(path));
    if (scan.is_of_interest()) {
      report.files.push_back({std::move(path), std::move(scan)});
    } else if (is_named) {
      report.skipped.push_back(std::move(path));
    }
  } catch (Error& error) {
    if (error.path().empty()) error.with_path(std::move(path));
    report.faults.push_back(error);
  }
}

/// Nothing keeps the rest from being scanned: whoever asks whether all of it is harmless wants to know of
/// each.
ScanReport scan_all(const ScanCommand& command, const Environment& environment) {
  ScanReport report;
  for (const std::string& model : command.models) {
    try {
      PickleFiles found = find_pickle_files(model, {.cache = environment.hub_cache});
      std::ranges::move(found.others, std::back_inserter(report.skipped));
      std::ranges::move(found.faults, std::back_inserter(report.faults));
      for (std::string& path : found.files) {
        const bool is_named = path == model;
        scan_file(std::move(path), is_named, report);
      }
    } catch (const Error& error) {
      report.faults.push_back(error);
    }
  }
  return report;
}

/// What a pickle is called: its file, and the member where it lies in an archive.
std::string place_of(const ScannedFile& file, const ScannedPickle& pickle) {
  return pickle.member.empty() ? file.path : fmt::format("{}:{}", file.path, pickle.member);
}

std::string render_lines(const std::vector<ScannedFile>& files) {
  std::string text;
  for (const ScannedFile& file : files) {
    for (const ScannedPickle& pickle : file.scan.pickles) {
      const std::string place = escape_text(place_of(file, pickle));
      for (const ScannedGlobal& global : pickle.scan.globals) {
        text += fmt::format("{}:{}: {} {}.{} ({})", place, global.offset, to_string(global.verdict),
                            escape_text(global.module), escape_text(global.name), global.opcode);
        for (size_t i = 0; i < global.calls.size(); ++i)
          text += (i == 0 ? ": " : ", ") + escape_text(global.calls[i].text);
        text += '\n';
      }
    }
  }
  return text;
}

void write_fault(JsonWriter& json, const Error* fault) {
  if (fault == nullptr) {
    json.null();
    return;
  }
  json.begin_object().key("code").string(error_code_info(fault->code()).name);
  json.key("message").string(fault->message()).key("offset");
  fault->offset() ? json.number(*fault->offset()) : json.null();
  json.end_object();
}

void write_pickle(JsonWriter& json, const ScannedPickle& pickle) {
  json.begin_object().key("member").string_or_null(pickle.member).key("offset").number(pickle.begin);
  json.key("globals").begin_array();
  for (const ScannedGlobal& global : pickle.scan.globals) {
    json.begin_object().key("module").string(global.module).key("name").string(global.name);
    json.key("opcode").string(global.opcode).key("offset").number(global.offset);
    json.key("verdict").string(to_string(global.verdict)).key("calls").begin_array();
    for (const ScannedCall& call : global.calls) {
      json.begin_object().key("opcode").string(call.opcode).key("offset").number(call.offset);
      json.key("call").string(call.text).end_object();
    }
    json.end_array().end_object();
  }
  json.end_array().key("error");
  write_fault(json, pickle.scan.fault ? &*pickle.scan.fault : nullptr);
  json.end_object();
}

std::string render_json(const ScanReport& report) {
  JsonWriter json;
  json.begin_object().key("schema").string("hfload.scan/1");
  json.key("denied").number(report.count(GlobalVerdict::denied)).key("files").begin_array();
  for (const ScannedFile& file : report.files) {
    json.begin_object().key("file").string(file.path).key("pickles").begin_array();
    for (const ScannedPickle& pickle : file.scan.pickles) write_pickle(json, pickle);
    json.end_array().key("error");
    write_fault(json, file.scan.faults.empty() ? nullptr : &file.scan.faults.front());
    json.key("errors").begin_array();
    for (const Error& fault : file.scan.faults) write_fault(json, &fault);
    json.end_array().end_object();
  }
  json.end_array().key("skipped").strings(report.skipped).key("errors").begin_array();
  for (const Error& fault : report.faults) write_error(json, fault);
  json.end_array().end_object();
  return json.take();
}

/// "README.md: no pickle to scan"; of many files the first few.
std::string describe_skipped(const std::vector<std::string>& files) {
  constexpr size_t kMostNamed = 5;
  if (files.size() == 1) return fmt::format("{}: no pickle to scan", files[0]);
  const auto named = std::span(files).first(std::min(files.size(), kMostNamed));
  return fmt::format("no pickle to scan in {}: {}{}", count_of(files.size(), "file"), join(named, ", "),
                     files.size() > kMostNamed ? ", …" : "");
}

/// Says what is wrong, and returns the exit status: of those that apply, the smallest. So denied code (1) is
/// told from what is malformed (3), not supported (4), not readable (5) or not there (8).
int tell(const ScanReport& report, Messages& messages) {
  int status = 0;
  const auto apply = [&](int applies) { status = status == 0 ? applies : std::min(status, applies); };
  for (const Error& fault : report.faults) {
    messages.error(fault);
    apply(fault.exit_status());
  }
  uint64_t pickles = 0;
  for (const ScannedFile& file : report.files) {
    pickles += file.scan.pickles.size();
    const std::vector<Error> faults = file.scan.all_faults();
    for (const Error& fault : faults) apply(fault.exit_status());
    for (const Error& fault : std::span(faults).first(std::min(faults.size(), kMostErrorsOfFile)))
      messages.error(Error(fault).with_path(file.path));
    if (faults.size() > kMostErrorsOfFile)
      messages.note(fmt::format("{}: {} more errors, which --json lists", file.path,
                                faults.size() - kMostErrorsOfFile));
  }
  const uint64_t denied = report.count(GlobalVerdict::denied);
  if (denied > 0) apply(1);
  if (!report.skipped.empty()) messages.note(describe_skipped(report.skipped));
  messages.note(fmt::format("{} in {}: {} allowed, {} unsupported, {} denied", count_of(pickles, "pickle"),
                            count_of(report.files.size(), "file"), report.count(GlobalVerdict::allowed),
                            report.count(GlobalVerdict::unsupported), denied));
  return status;
}

}  // namespace

void run_scan(const ScanCommand& command, const Context& context) {
  const ScanReport report = scan_all(command, context.environment);
  const bool came_to_nothing = report.files.empty() && report.skipped.empty() && report.faults.size() == 1;
  if (came_to_nothing) throw Error(report.faults.front());
  const int status = tell(report, context.messages);
  write_standard_output(context.common.json ? render_json(report) : render_lines(report.files));
  if (status != 0) throw CheckFailed{status};
}

}  // namespace hfload::cli
