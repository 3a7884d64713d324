#include <fmt/core.h>

#include <algorithm>

#include "cli/render_verify.h"
#include "cli/text.h"

namespace hfload::cli {
namespace {

std::string change(std::string_view a, std::string_view b) {
  return a == b ? std::string(a) : fmt::format("{} -> {}", a, b);
}

std::string describe(const TensorDifference& pair) {
  if (!pair.same_shape) return "not comparable";
  if (pair.differing == 0) return "equal";
  std::string how =
      fmt::format("{} of {} values differ, max |a-b| {:.4g}, relative {:.4g}", group_digits(pair.differing),
                  group_digits(pair.values), pair.max_absolute, pair.max_relative);
  if (pair.cosine) how += fmt::format(", cosine {:.9g}", *pair.cosine);
  if (pair.nan_mismatches > 0) how += fmt::format(", NaN on one side {}", group_digits(pair.nan_mismatches));
  return how;
}

void write_ulps(JsonWriter& json, const TensorDifference& pair) {
  json.key("ulps");
  if (!pair.has_ulps) {
    json.null();
    return;
  }
  json.begin_array();
  for (size_t k = 0; k < UlpHistogram().size(); ++k) {
    const uint64_t count = k == 0 ? pair.zero_ulps : pair.ulps ? (*pair.ulps)[k] : 0;
    if (count == 0) continue;
    // The last bucket's bound, 2^64, has no 64-bit number; no two floats are that far apart.
    json.begin_object().key("at_most").number(k == 0 ? 0 : uint64_t{1} << std::min<size_t>(k - 1, 63));
    json.key("values").number(count).end_object();
  }
  json.end_array();
}

void write_names(JsonWriter& json, const Checkpoint& checkpoint, const std::vector<uint32_t>& tensors) {
  json.begin_array();
  for (const uint32_t i : tensors) json.string(checkpoint.tensors[i].name);
  json.end_array();
}

}  // namespace

bool Compared::is_equal() const {
  return difference.only_a.empty() && difference.only_b.empty() &&
         std::ranges::all_of(difference.common,
                             [&](const TensorDifference& pair) { return pair.within(tolerance); });
}

void write_compared(const Compared& compared, bool all, const TextSink& sink) {
  using Align = TextTable::Align;
  BufferedText names(sink);
  for (const uint32_t i : compared.difference.only_a)
    names.text() += fmt::format("only in A: {}\n", escape_text(compared.a.tensors[i].name));
  for (const uint32_t i : compared.difference.only_b)
    names.text() += fmt::format("only in B: {}\n", escape_text(compared.b.tensors[i].name));
  names.flush();
  const auto make_rows = [&](const TextTable::RowSink& row) {
    for (const TensorDifference& pair : compared.difference.common) {
      const CheckpointTensor& a = compared.a.tensors[pair.a];
      const CheckpointTensor& b = compared.b.tensors[pair.b];
      const bool is_same = pair.within(compared.tolerance) && pair.differing == 0;
      if (!all && is_same && a.dtype_name() == b.dtype_name()) continue;
      row({escape_text(a.name), escape_text(change(a.dtype_name(), b.dtype_name())),
           change(format_shape(a.shape), format_shape(b.shape)), describe(pair)});
    }
  };
  TextTable::write({Align::left, Align::left, Align::left, Align::left}, 0, make_rows, sink);
  uint64_t equal = 0, near = 0, beyond = 0;
  for (const TensorDifference& pair : compared.difference.common)
    ++(!pair.within(compared.tolerance) ? beyond : pair.differing > 0 ? near : equal);
  sink(fmt::format("{}: {} equal, {} within the tolerance, {} beyond, {} only in A, {} only in B\n",
                   compared.is_equal() ? "equal" : "different", group_digits(equal), group_digits(near),
                   group_digits(beyond), group_digits(compared.difference.only_a.size()),
                   group_digits(compared.difference.only_b.size())));
}

void write_compared_json(const Compared& compared, const TextSink& sink) {
  JsonWriter json(sink);
  json.begin_object().key("schema").string("hfload.diff/1").key("equal").boolean(compared.is_equal());
  json.key("tolerance").real(compared.tolerance).key("only_in_a");
  write_names(json, compared.a, compared.difference.only_a);
  json.key("only_in_b");
  write_names(json, compared.b, compared.difference.only_b);
  json.key("tensors").begin_array();
  for (const TensorDifference& pair : compared.difference.common) {
    const CheckpointTensor& a = compared.a.tensors[pair.a];
    const CheckpointTensor& b = compared.b.tensors[pair.b];
    json.begin_object().key("name").string(a.name);
    json.key("dtype_a").string(a.dtype_name()).key("dtype_b").string(b.dtype_name());
    json.key("shape_a").numbers(a.shape).key("shape_b").numbers(b.shape);
    json.key("within").boolean(pair.within(compared.tolerance)).key("compared").boolean(pair.same_shape);
    json.key("values").number(pair.values).key("differing").number(pair.differing);
    json.key("nan_mismatches").number(pair.nan_mismatches);
    json.key("max_absolute").real(pair.max_absolute).key("max_relative").real(pair.max_relative);
    json.key("cosine");
    pair.cosine ? json.real(*pair.cosine) : json.null();
    write_ulps(json, pair);
    json.end_object();
  }
  json.end_array().end_object();
  json.finish();
}

}  // namespace hfload::cli
