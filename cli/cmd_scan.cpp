#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/json_writer.h"
#include "cli/text.h"
#include "core/base/file.h"
#include "core/format/pickle_file_scan.h"
#include "core/model/pickle_files.h"

namespace hfload::cli {
namespace {

struct ScannedFile {
  std::string path;
  FileScan scan;
};

std::vector<ScannedFile> scan_all(const ScanCommand& command, const Environment& environment) {
  std::vector<ScannedFile> files;
  for (const std::string& model : command.models) {
    for (std::string& path : find_pickle_files(model, {.cache = environment.hub_cache})) {
      const RegularFile file = open_regular_file(path);
      files.push_back({std::move(path), scan_pickle_file(FileSource(file))});
    }
  }
  return files;
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
        text += fmt::format("{}:{}: {} {}.{} ({})\n", place, global.offset, to_string(global.verdict),
                            escape_text(global.module), escape_text(global.name), global.opcode);
      }
    }
  }
  return text;
}

void write_fault(JsonWriter& json, const Error* fault) {
  json.key("error");
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
    json.key("verdict").string(to_string(global.verdict)).end_object();
  }
  json.end_array();
  write_fault(json, pickle.scan.fault ? &*pickle.scan.fault : nullptr);
  json.end_object();
}

std::string render_json(const std::vector<ScannedFile>& files, uint64_t denied) {
  JsonWriter json;
  json.begin_object().key("schema").string("hfload.scan/1");
  json.key("denied").number(denied).key("files").begin_array();
  for (const ScannedFile& file : files) {
    json.begin_object().key("file").string(file.path).key("pickles").begin_array();
    for (const ScannedPickle& pickle : file.scan.pickles) write_pickle(json, pickle);
    json.end_array();
    write_fault(json, file.scan.fault ? &*file.scan.fault : nullptr);
    json.end_object();
  }
  json.end_array().end_object();
  return json.take();
}

/// Why the result is what it is. A file that names denied code is that, also where it is malformed besides.
int report(const std::vector<ScannedFile>& files, uint64_t denied, Messages& messages) {
  int status = 0;
  uint64_t pickles = 0, allowed = 0, unsupported = 0;
  for (const ScannedFile& file : files) {
    pickles += file.scan.pickles.size();
    allowed += file.scan.count(GlobalVerdict::allowed);
    unsupported += file.scan.count(GlobalVerdict::unsupported);
    const Error* fault = file.scan.first_fault();
    if (fault == nullptr) continue;
    messages.warning(
        fmt::format("{}: {} [{}]", file.path, fault->message(), error_code_info(fault->code()).name));
    status = status == 3 ? 3 : fault->exit_status();
  }
  messages.note(fmt::format("{} in {}: {} allowed, {} unsupported, {} denied", count_of(pickles, "pickle"),
                            count_of(files.size(), "file"), allowed, unsupported, denied));
  return denied > 0 ? 1 : status;
}

}  // namespace

void run_scan(const ScanCommand& command, const Context& context) {
  const std::vector<ScannedFile> files = scan_all(command, context.environment);
  uint64_t denied = 0;
  for (const ScannedFile& file : files) denied += file.scan.count(GlobalVerdict::denied);
  const int status = report(files, denied, context.messages);
  write_standard_output(context.common.json ? render_json(files, denied) : render_lines(files));
  if (status != 0) throw CheckFailed{status};
}

}  // namespace hfload::cli
