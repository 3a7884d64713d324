#include "core/format/scanned_values.h"

#include <fmt/core.h>
#include <simdjson.h>

#include <algorithm>

namespace hfload {
namespace {

constexpr int64_t kHalf = ScannedValue::kIds / 2;

}  // namespace

ScannedValue ScannedValues::make(Kind kind, const std::vector<Value>& members) {
  if (ring_.empty()) ring_.resize(kKept);
  Composite& composite = ring_[next_ % kKept];
  composite.id = next_;
  next_ = (next_ + 1) % Value::kIds;
  composite.members.clear();
  composite.has_more = false;
  const Value value = Value::of(kind, composite.id);
  append(value, members);
  return value;
}

ScannedValue ScannedValues::make_integer(int64_t value) {
  if (value >= -kHalf && value < kHalf) return Value::of(Kind::integer, static_cast<size_t>(value + kHalf));
  if (wide_.size() == kMostWide) return {};
  wide_.push_back(value);
  return Value::of(Kind::wide, wide_.size() - 1);
}

ScannedValue ScannedValues::make_dtype(ScannedDtype dtype) {
  if (dtypes_.size() == kMostDtypes) return {};
  dtypes_.push_back(std::move(dtype));
  return Value::of(Kind::dtype, dtypes_.size() - 1);
}

const ScannedValues::Composite* ScannedValues::find(Value value) const {
  const bool is_composite = value.kind == Kind::tuple || value.kind == Kind::list ||
                            value.kind == Kind::dict || value.kind == Kind::call;
  if (!is_composite) return nullptr;
  const Composite& composite = ring_[value.id % kKept];
  return composite.id == value.id ? &composite : nullptr;
}

void ScannedValues::append_to(Composite& composite, Value member) {
  if (composite.members.size() < kMostMembers) {
    composite.members.push_back(member);
  } else {
    composite.has_more = true;
  }
}

void ScannedValues::append(Value to, Value member) {
  if (find(to) != nullptr) append_to(ring_[to.id % kKept], member);
}

void ScannedValues::append(Value to, const std::vector<Value>& members) {
  if (find(to) == nullptr) return;
  for (const Value& member : members) append_to(ring_[to.id % kKept], member);
}

const std::vector<ScannedValue>* ScannedValues::members(Value value) const {
  const Composite* const composite = find(value);
  return composite == nullptr ? nullptr : &composite->members;
}

bool ScannedValues::has_more(Value value) const {
  const Composite* const composite = find(value);
  return composite != nullptr && composite->has_more;
}

std::optional<int64_t> ScannedValues::integer(Value value) const {
  if (value.kind == Kind::integer) return static_cast<int64_t>(value.id) - kHalf;
  if (value.kind == Kind::wide) return wide_[value.id];
  return std::nullopt;
}

ScannedDtype* ScannedValues::dtype(Value value) {
  return value.kind == Kind::dtype ? &dtypes_[value.id] : nullptr;
}
const ScannedDtype* ScannedValues::dtype(Value value) const {
  return value.kind == Kind::dtype ? &dtypes_[value.id] : nullptr;
}

std::string_view cut_text(std::string_view text, size_t most_bytes) {
  if (text.size() <= most_bytes) return text;
  size_t end = most_bytes;
  while (end > 0 && most_bytes - end < 4 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

std::string quote_python_text(std::string_view text) {
  const bool is_utf8 = simdjson::validate_utf8(text.data(), text.size());
  std::string quoted = "'";
  for (const char c : text) {
    const uint8_t byte = static_cast<uint8_t>(c);
    if (c == '\'' || c == '\\') {
      quoted.push_back('\\');
      quoted.push_back(c);
    } else if (c == '\n') {
      quoted += "\\n";
    } else if (c == '\t') {
      quoted += "\\t";
    } else if (byte < 0x20 || byte == 0x7F || (byte >= 0x80 && !is_utf8)) {
      quoted += fmt::format("\\x{:02x}", byte);
    } else {
      quoted.push_back(c);
    }
  }
  quoted.push_back('\'');
  return quoted;
}

}  // namespace hfload
