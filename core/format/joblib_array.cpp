#include "core/format/joblib_array.h"

#include <charconv>

#include "core/base/checked.h"

namespace hfload {
namespace {

using Kind = ScannedValue::Kind;

constexpr size_t kVersion = 0, kSubdtype = 2, kItemBytes = 5, kFlags = 7;
// NPY_ITEM_HASOBJECT of numpy's ndarraytypes.h.
constexpr int64_t kHasObjects = 1;
constexpr int64_t kMostItemBytes = INT32_MAX;

/// The product of a shape's dimensions; nothing for what is no tuple of integers, or overflows.
std::optional<uint64_t> count_elements(const ScannedValues& values, ScannedValue shape) {
  const auto* const dimensions = values.members(shape);
  if (shape.kind != Kind::tuple || dimensions == nullptr || values.has_more(shape)) return std::nullopt;
  std::optional<uint64_t> count = 1;
  for (const ScannedValue& dimension : *dimensions) {
    const std::optional<int64_t> size = values.integer(dimension);
    if (!size || *size < 0) return std::nullopt;
    count = checked_mul(*count, static_cast<uint64_t>(*size));
    if (!count) return std::nullopt;
  }
  return count;
}

}  // namespace

std::optional<JoblibArray> find_joblib_array(const ScannedValues& values,
                                             const std::vector<const std::string*>& texts,
                                             ScannedValue state) {
  const auto* const members = values.members(state);
  if (state.kind != Kind::dict || members == nullptr || values.has_more(state)) return std::nullopt;
  JoblibArray array;
  std::optional<uint64_t> count;
  const ScannedDtype* dtype = nullptr;
  for (size_t i = 0; i + 1 < members->size(); i += 2) {
    const ScannedValue value = (*members)[i + 1];
    if ((*members)[i].kind != Kind::text) return std::nullopt;
    const std::string& key = *texts[(*members)[i].id];
    if (key == "shape") count = count_elements(values, value);
    if (key == "dtype") dtype = values.dtype(value);
    if (key == "numpy_array_alignment_bytes") array.has_padding = value.kind != Kind::none;
  }
  if (dtype == nullptr) return std::nullopt;
  array.is_pickle = dtype->has_objects;
  if (array.is_pickle) return array;
  if (!count || !dtype->item_bytes) return std::nullopt;
  const std::optional<uint64_t> bytes = checked_mul(*count, *dtype->item_bytes);
  if (!bytes) return std::nullopt;
  array.bytes = *bytes;
  return array;
}

ScannedDtype numpy_dtype(std::string_view name) {
  ScannedDtype dtype{std::string(name), std::nullopt, false};
  if (name == "O" || name == "O8" || name == "O4") {
    dtype.has_objects = true;
    return dtype;
  }
  constexpr std::string_view kFixed = "biufcmM";
  uint64_t bytes = 0;
  if (name.size() < 2 || kFixed.find(name[0]) == std::string_view::npos) return dtype;
  const auto [end, fault] = std::from_chars(name.data() + 1, name.data() + name.size(), bytes);
  if (fault == std::errc() && end == name.data() + name.size() && bytes >= 1 && bytes <= 32)
    dtype.item_bytes = bytes;
  return dtype;
}

void set_dtype_state(const ScannedValues& values, ScannedValue state, ScannedDtype& dtype) {
  const bool is_sized_by_state =
      dtype.name.starts_with('S') || dtype.name.starts_with('U') || dtype.name.starts_with('V');
  if (!is_sized_by_state) return;  // numpy sets no size of the others
  dtype.item_bytes.reset();
  dtype.has_objects = false;
  const auto* const members = values.members(state);
  if (members == nullptr || members->size() <= kFlags) return;
  const std::optional<int64_t> bytes = values.integer((*members)[kItemBytes]),
                               flags = values.integer((*members)[kFlags]),
                               version = values.integer((*members)[kVersion]);
  if (!bytes || !flags || !version || *bytes < 0 || *bytes > kMostItemBytes) return;
  // A dtype of arrays, such as ('f8', (3,)), may hold another one, which says more than the flags.
  if ((*members)[kSubdtype].kind != Kind::none) return;
  dtype.item_bytes = static_cast<uint64_t>(*bytes);
  dtype.has_objects = *flags & kHasObjects;
}

}  // namespace hfload
