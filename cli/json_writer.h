#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"
#include "core/base/text_sink.h"

namespace hfload::cli {

/// How a document is laid out: indented by two spaces a level, or as one line among others.
enum class JsonLayout : uint8_t { indented, one_line };

/// Writes one JSON document. Integers are exact to 64 bits. Strings are
/// always valid UTF-8: a byte that is none becomes U+FFFD, and whatever could steer a terminal is written as
/// \uNNNN. The calls follow the document: `key` before each value of an object.
class JsonWriter {
 public:
  /// Keeps the document until it is taken.
  explicit JsonWriter(JsonLayout layout = JsonLayout::indented) : layout_(layout) {}
  /// Passes the document on part by part.
  explicit JsonWriter(TextSink sink) : sink_(std::move(sink)) {}

  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);

  JsonWriter& string(std::string_view text);
  JsonWriter& number(uint64_t value);
  /// A finite number with microseconds; for durations.
  JsonWriter& seconds(double value);
  JsonWriter& integer(int64_t value);
  /// The shortest text that reads back as this number; null for what JSON cannot say (infinite, NaN).
  JsonWriter& real(double value);
  JsonWriter& boolean(bool value);
  JsonWriter& null();

  /// null for an empty text.
  JsonWriter& string_or_null(std::string_view text) { return text.empty() ? null() : string(text); }
  /// An array on one line.
  JsonWriter& numbers(std::span<const uint64_t> values);
  JsonWriter& strings(std::span<const std::string> values);

  /// The document and a line feed. All that was opened must be closed.
  std::string take();
  /// The same for a document that was passed on: passes on the rest of it.
  void finish() { sink_(take()); }

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  /// Puts comma, line feed and indentation before a value or key.
  void separate();
  void break_line();
  void write_string(std::string_view text);

  JsonLayout layout_ = JsonLayout::indented;
  TextSink sink_;
  std::string out_;
  std::vector<bool> has_members_;  ///< one per open bracket
  bool after_key_ = false;
};

/// What an error says, as an object: the "error" of hfload.error/1.
void write_error(JsonWriter& json, const Error& error);

}  // namespace hfload::cli
