#include "cli/render_convert.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "cli/json_writer.h"
#include "cli/text.h"
#include "core/base/units.h"

namespace hfload::cli {
namespace {

constexpr std::array<std::string_view, 4> kStatusNames = {"failed", "planned", "converted", "skipped"};

std::string_view name_of(ConvertStatus status) { return kStatusNames[static_cast<size_t>(status)]; }

std::string sizes(const ConvertReport& report) {
  return fmt::format("{}, {}", count_of(report.files.size(), "file"),
                     format_byte_size(static_cast<double>(report.output_bytes)));
}

void write_model(JsonWriter& json, const ConvertReport& report) {
  json.begin_object().key("source").string(report.source).key("destination").string(report.destination);
  json.key("status").string(name_of(report.status));
  if (report.error) {
    json.key("error");
    write_error(json, *report.error);
    json.end_object();
    return;
  }
  json.key("files").begin_array();
  for (const ConvertedFile& row : report.files) {
    json.begin_object().key("file").string(row.name).key("tensors").number(row.tensors);
    json.key("file_bytes").number(row.bytes).end_object();
  }
  json.end_array();
  json.key("tensors").number(report.tensors).key("tensor_bytes").number(report.tensor_bytes);
  json.key("output_bytes").number(report.output_bytes).key("free_bytes").number(report.free_bytes);
  json.key("converted_tensors").number(report.converted_tensors);
  json.key("dropped_tensors").strings(report.dropped).key("duplicated_tensors").strings(report.duplicated);
  json.key("outdated").boolean(report.outdated).key("seconds").seconds(report.seconds);
  json.key("warnings").strings(report.warnings).end_object();
}

}  // namespace

void ConvertReport::set_plan(const ConvertPlan& plan) {
  for (const PlannedFile& file : plan.files)
    files.push_back({file.name, file.layout.slots.size(), file.layout.file_bytes});
  for (const TextFile& file : plan.texts) files.push_back({file.name, 0, file.bytes});
  for (const CopiedFile& file : plan.copies) files.push_back({file.name, 0, file.bytes});
  tensors = plan.tensors.size();
  tensor_bytes = plan.tensor_bytes;
  output_bytes = plan.output_bytes;
  converted_tensors = plan.converted_tensors;
  dropped = plan.dropped;
  duplicated = plan.duplicated;
}

std::string render_conversion_line(const ConvertReport& report) {
  std::string line = fmt::format("{} {} to {}", name_of(report.status), escape_text(report.source),
                                 escape_text(report.destination));
  if (report.error) {
    line += fmt::format(": {}", error_code_info(report.error->code()).name);
  } else if (report.status == ConvertStatus::skipped) {
    line += ": it is there, and complete";
  } else {
    line += ": " + sizes(report);
    if (report.outdated) {
      line += "; the source has changed since the output that was there";
    } else if (report.replaces) {
      line += "; replaces what is there";
    }
  }
  return line + '\n';
}

std::string render_conversion_plan(const ConvertReport& report) {
  if (report.status == ConvertStatus::skipped) return render_conversion_line(report);
  TextTable table({TextTable::Align::left, TextTable::Align::right, TextTable::Align::right});
  for (const ConvertedFile& row : report.files) {
    table.add_row({escape_text(row.name), row.tensors == 0 ? "" : count_of(row.tensors, "tensor"),
                   group_digits(row.bytes) + " B"});
  }
  table.add_row({"needed", "", group_digits(report.output_bytes) + " B"});
  table.add_row({"free", "", group_digits(report.free_bytes) + " B"});
  return render_conversion_line(report) + table.render();
}

std::string render_rate(const ConvertReport& report) {
  if (report.status == ConvertStatus::skipped) return "nothing was written";
  std::string text = fmt::format("wrote {} in {:.2f} s",
                                 format_byte_size(static_cast<double>(report.output_bytes)), report.seconds);
  if (report.converted_tensors > 0)
    text += fmt::format("; {} cast", count_of(report.converted_tensors, "tensor"));
  if (!report.dropped.empty())
    text += fmt::format("; {} dropped", count_of(report.dropped.size(), "tied duplicate"));
  if (!report.duplicated.empty())
    text += fmt::format("; {} added", count_of(report.duplicated.size(), "tied duplicate"));
  return text;
}

std::string render_summary(std::span<const ConvertReport> reports) {
  std::string text = count_of(reports.size(), "model");
  char separator = ':';
  for (const ConvertStatus status :
       {ConvertStatus::converted, ConvertStatus::planned, ConvertStatus::skipped, ConvertStatus::failed}) {
    const auto count = std::ranges::count(reports, status, &ConvertReport::status);
    if (count == 0) continue;
    text += fmt::format("{} {} {}", separator, count, name_of(status));
    separator = ',';
  }
  return text;
}

std::string render_conversion_json(const ConvertReport& report, bool dry_run, JsonLayout layout) {
  JsonWriter json(layout);
  json.begin_object().key("schema").string("hfload.convert/1").key("dry_run").boolean(dry_run);
  json.key("models").begin_array();
  write_model(json, report);
  json.end_array().end_object();
  return json.take();
}

}  // namespace hfload::cli
