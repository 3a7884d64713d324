#include "cli/json_writer.h"

#include <fmt/core.h>

#include <cmath>
#include <utility>

#include "cli/text.h"
#include "core/base/join.h"

namespace hfload::cli {

JsonWriter& JsonWriter::open(char bracket) {
  separate();
  out_ += bracket;
  has_members_.push_back(false);
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  const bool had_members = has_members_.back();
  has_members_.pop_back();
  if (had_members) break_line();
  out_ += bracket;
  return *this;
}

void JsonWriter::separate() {
  constexpr size_t kPartBytes = 64 << 10;
  if (sink_ && out_.size() >= kPartBytes) {
    sink_(out_);
    out_.clear();
  }
  if (std::exchange(after_key_, false) || has_members_.empty()) return;
  const bool is_first = !has_members_.back();
  has_members_.back() = true;
  if (!is_first) out_ += layout_ == JsonLayout::one_line ? ", " : ",";
  break_line();
}

void JsonWriter::break_line() {
  if (layout_ == JsonLayout::indented) out_.append("\n").append(2 * has_members_.size(), ' ');
}

JsonWriter& JsonWriter::key(std::string_view name) {
  separate();
  write_string(name);
  out_ += ": ";
  after_key_ = true;
  return *this;
}

JsonWriter& JsonWriter::string(std::string_view text) {
  separate();
  write_string(text);
  return *this;
}

JsonWriter& JsonWriter::number(uint64_t value) {
  separate();
  out_ += fmt::format("{}", value);
  return *this;
}

JsonWriter& JsonWriter::seconds(double value) {
  separate();
  out_ += fmt::format("{:.6f}", value);
  return *this;
}

JsonWriter& JsonWriter::integer(int64_t value) {
  separate();
  out_ += fmt::format("{}", value);
  return *this;
}

JsonWriter& JsonWriter::real(double value) {
  if (!std::isfinite(value)) return null();
  separate();
  out_ += fmt::format("{}", value);
  return *this;
}

JsonWriter& JsonWriter::boolean(bool value) {
  separate();
  out_ += value ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::null() {
  separate();
  out_ += "null";
  return *this;
}

JsonWriter& JsonWriter::numbers(std::span<const uint64_t> values) {
  separate();
  out_ += fmt::format("[{}]", join(values, ", "));
  return *this;
}

JsonWriter& JsonWriter::strings(std::span<const std::string> values) {
  begin_array();
  for (const std::string& value : values) string(value);
  return end_array();
}

void JsonWriter::write_string(std::string_view text) {
  out_ += '"';
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = decode_utf8(text, at);
    if (!point.valid) {
      out_ += "\\ufffd";
    } else if (point.value == '"' || point.value == '\\') {
      out_ += '\\';
      out_ += static_cast<char>(point.value);
    } else if (point.value == '\n') {
      out_ += "\\n";
    } else if (is_unsafe_to_print(point.value) && point.value < 0x10000) {
      out_ += fmt::format("\\u{:04x}", point.value);
    } else if (is_unsafe_to_print(point.value)) {
      const uint32_t offset = point.value - 0x10000;
      out_ += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (offset >> 10), 0xDC00 + (offset & 0x3FF));
    } else {
      out_ += text.substr(at, point.bytes);
    }
    at += point.bytes;
  }
  out_ += '"';
}

std::string JsonWriter::take() {
  out_ += '\n';
  return std::exchange(out_, {});
}

void write_error(JsonWriter& json, const Error& error) {
  json.begin_object().key("code").string(error_code_info(error.code()).name);
  json.key("message").string(error.message()).key("path").string_or_null(error.path());
  json.key("tensor").string_or_null(error.tensor()).key("offset");
  error.offset() ? json.number(*error.offset()) : json.null();
  json.key("hint").string_or_null(error.hint()).end_object();
}

}  // namespace hfload::cli
