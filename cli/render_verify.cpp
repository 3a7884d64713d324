#include "cli/render_verify.h"

#include <fmt/core.h>

#include <algorithm>

#include "cli/text.h"
#include "core/base/join.h"
#include "core/check/structure.h"

namespace hfload::cli {
namespace {

std::string text_of(const std::optional<ElementValue>& value) {
  if (!value) return "-";
  if (const auto* real = std::get_if<double>(&*value)) return fmt::format("{:.6g}", *real);
  return std::visit([](auto number) { return fmt::format("{}", number); }, *value);
}

void write_value(JsonWriter& json, const std::optional<ElementValue>& value) {
  if (!value) {
    json.null();
  } else if (const auto* real = std::get_if<double>(&*value)) {
    json.real(*real);
  } else if (const auto* integer = std::get_if<int64_t>(&*value)) {
    json.integer(*integer);
  } else {
    json.number(std::get<uint64_t>(*value));
  }
}

/// "3 NaN, 1 infinite, 2 denormal"; "all zero".
std::string remarks(const TensorStatistics& statistics) {
  std::vector<std::string> parts;
  const auto add = [&](uint64_t count, std::string_view what) {
    if (count > 0) parts.push_back(fmt::format("{} {}", group_digits(count), what));
  };
  add(statistics.nan, "NaN");
  add(statistics.infinite, "infinite");
  add(statistics.denormal, "denormal");
  if (statistics.all_zero()) {
    parts.emplace_back("all zero");
  } else if (statistics.constant && statistics.values > 1) {
    parts.emplace_back("all equal");
  }
  return join(parts, ", ");
}

std::string render_findings(const std::vector<Finding>& findings) {
  constexpr size_t kShown = 10;
  std::string text;
  for (size_t at = 0; at < findings.size(); ++at) {
    const Finding& finding = findings[at];
    text += fmt::format("{}{}: {}\n", is_fault(finding) ? "" : "note: ", finding.code,
                        escape_text(finding.message));
    for (size_t i = 0; i < std::min(finding.names.size(), kShown); ++i)
      text += fmt::format("  {}\n", escape_text(finding.names[i]));
    if (finding.names.size() > kShown)
      text += fmt::format("  and {} more (--json lists all)\n", group_digits(finding.names.size() - kShown));
    // Of many absent shards, once.
    const bool is_said_again = at + 1 < findings.size() && findings[at + 1].hint == finding.hint;
    if (!finding.hint.empty() && !is_said_again)
      text += fmt::format("  hint: {}\n", escape_text(finding.hint));
  }
  return text;
}

}  // namespace

void write_verified(const Verified& verified, bool all, const TextSink& sink) {
  using Align = TextTable::Align;
  sink(render_findings(verified.findings));
  const auto make_rows = [&](const TextTable::RowSink& row) {
    for (size_t i = 0; i < verified.statistics.size(); ++i) {
      const auto& statistics = verified.statistics[i];
      if (!statistics) continue;
      const bool is_suspicious = statistics->nan > 0 || statistics->infinite > 0 || statistics->all_zero();
      if (!all && !is_suspicious) continue;
      const CheckpointTensor& tensor = verified.checkpoint.tensors[i];
      row({escape_text(tensor.name), escape_text(tensor.dtype_name()), format_shape(tensor.shape),
           text_of(statistics->min), text_of(statistics->max),
           statistics->mean ? fmt::format("{:.6g}", *statistics->mean) : "-",
           fmt::format("{:016x}", statistics->hash), remarks(*statistics)});
    }
  };
  TextTable::write({Align::left, Align::left, Align::left, Align::right, Align::right, Align::right,
                    Align::left, Align::left},
                   0, make_rows, sink);
  sink(render_checksums(verified.checksums));
  uint64_t tensors = 0, bytes = 0, denormal = 0;
  for (size_t i = 0; i < verified.statistics.size(); ++i) {
    const auto& statistics = verified.statistics[i];
    if (!statistics) continue;
    const CheckpointTensor& tensor = verified.checkpoint.tensors[i];
    ++tensors;
    if (!tensor.repeats_another()) bytes += tensor.bytes();
    denormal += statistics->denormal > 0;
  }
  const auto faults = std::ranges::count_if(verified.findings, is_fault);
  const uint64_t unread = verified.statistics.size() - tensors;
  sink(fmt::format("{}: {} read, {} bytes{}{}\n",
                   faults == 0 ? "clean" : count_of(static_cast<uint64_t>(faults), "problem"),
                   count_of(tensors, "tensor"), group_digits(bytes),
                   denormal > 0 ? fmt::format("; {} with denormal values", group_digits(denormal)) : "",
                   unread > 0 ? fmt::format("; {} not read", group_digits(unread)) : ""));
}

void write_verified_json(const Verified& verified, const TextSink& sink) {
  JsonWriter json(sink);
  const bool clean = std::ranges::none_of(verified.findings, is_fault);
  json.begin_object().key("schema").string("hfload.verify/1").key("clean").boolean(clean);
  json.key("findings").begin_array();
  for (const Finding& finding : verified.findings) {
    json.begin_object().key("code").string(finding.code).key("message").string(finding.message);
    json.key("fault").boolean(is_fault(finding)).key("names").strings(finding.names);
    json.key("hint").string_or_null(finding.hint).end_object();
  }
  json.end_array();
  write_checksums(json, verified.checksums);
  json.key("warnings").strings(verified.warnings).key("tensors").begin_array();
  for (size_t i = 0; i < verified.statistics.size(); ++i) {
    const auto& statistics = verified.statistics[i];
    if (!statistics) continue;
    const CheckpointTensor& tensor = verified.checkpoint.tensors[i];
    json.begin_object().key("name").string(tensor.name).key("dtype").string(tensor.dtype_name());
    json.key("shape").numbers(tensor.shape).key("bytes").number(tensor.bytes());
    json.key("hash").string(fmt::format("{:016x}", statistics->hash)).key("values");
    statistics->decoded ? json.number(statistics->values) : json.null();
    json.key("nan").number(statistics->nan).key("infinite").number(statistics->infinite);
    json.key("denormal").number(statistics->denormal).key("zero").number(statistics->zero);
    json.key("all_zero").boolean(statistics->all_zero());
    json.key("constant").boolean(statistics->constant).key("min");
    write_value(json, statistics->min);
    json.key("max");
    write_value(json, statistics->max);
    json.key("mean");
    statistics->mean ? json.real(*statistics->mean) : json.null();
    json.end_object();
  }
  json.end_array().end_object();
  json.finish();
}

}  // namespace hfload::cli
