#pragma once

// The room's own reader of JSON, on top of simdjson's On-Demand parser. On-Demand leaves unchecked what
// nobody reads, keeps duplicate keys, and has no limit on depth; this layer checks every value, limits depth,
// and refuses duplicate keys, or reports them in Python's dialect.

#include <simdjson.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/error.h"

namespace hfload::json {

/// Levels of arrays and objects that a document may nest, its root being the first.
inline constexpr unsigned kMaxDepth = 128;

enum class Kind : uint8_t { null, boolean, number, string, array, object };

/// `python`: as Python's json module reads. NaN, Infinity and -Infinity are numbers, a key may stand twice in
/// an object, and the escape of half a surrogate pair stands for U+FFFD.
enum class Dialect : uint8_t { strict, python };

class Document;

/// One value. Reading is forward only: a value is read at most once and before the next one of its document.
/// What its receiver leaves unread is still checked. All offsets are bytes from the start of the file.
class Value {
 public:
  Kind kind() const { return kind_; }
  uint64_t offset() const;
  /// Of a boolean.
  bool boolean() const { return token_ == "true"; }
  /// The text of a number, of the grammar of JSON or one of Python's three words.
  std::string_view number() const { return token_; }
  /// Of a number. Throws Error(invalid_number) for anything but an integer in [0, 2^64) without fraction or
  /// exponent.
  uint64_t uint64() const;
  /// Of a string, unescaped; lives as long as the document's text.
  std::string_view string();

  /// Calls `f(std::string_view key, Value& value)` for each member of an object, in file order. An Error
  /// thrown meanwhile is first passed to `add_context(Error&, std::string_view key)`. After the last member
  /// throws Error(duplicate_key) or, in Python's dialect, returns a key that stands twice.
  template <class F, class Context>
  std::optional<std::string_view> for_each_member(F&& f, Context&& add_context);
  template <class F>
  std::optional<std::string_view> for_each_member(F&& f) {
    return for_each_member(std::forward<F>(f), [](Error&, std::string_view) {});
  }
  /// Calls `f(Value& value)` for each element of an array.
  template <class F>
  void for_each_element(F&& f);

 private:
  friend class Document;
  Value(Document& document, simdjson::ondemand::value* value, std::string_view raw_token, unsigned depth);
  /// Checks what the receiver left unread.
  void finish();

  Document& document_;
  simdjson::ondemand::value* value_;
  std::string_view token_;  ///< of a scalar without its white space; else the opening character
  unsigned depth_;          ///< of the arrays and objects around it
  Kind kind_ = Kind::null;
  bool read_ = false;
};

/// A JSON text while it is read.
class Document {
 public:
  /// `text_offset`: bytes from the start of the file to the start of the text.
  /// Throws Error(invalid_utf8, invalid_json).
  Document(simdjson::padded_string text, uint64_t text_offset, Dialect dialect = Dialect::strict);
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;

  /// Passes the one value of the document to `f(Value& root)`. Throws Error(invalid_json) when it is neither
  /// an object nor an array, or when more text follows.
  template <class F>
  void read(F&& f);

  uint64_t offset_of(const char* position) const;
  /// Whether a text had half of a surrogate pair, in Python's dialect.
  bool had_lone_surrogate() const { return had_lone_surrogate_; }

  /// The text, to which the strings that were read point; the document has come to its end.
  simdjson::padded_string take_text() && { return std::move(text_); }

 private:
  friend class Value;
  struct Key {
    std::string_view name;
    const char* position;
  };
  /// Throws when two of the keys from `first` on are equal, or returns the key in Python's dialect, and takes
  /// these keys off the list.
  template <class Context>
  std::optional<std::string_view> require_distinct_keys(size_t first, Context&& add_context);
  /// The second of two equal keys; null when all are distinct.
  const Key* find_duplicate_key(size_t first) const;
  Error duplicate_key(const Key& key) const;
  /// The string, unescaped where it stands in the text.
  std::string_view unescape(simdjson::ondemand::raw_json_string string);
  Error not_a_container();
  /// Where simdjson stands; the end of the text when it has read all.
  const char* position();
  /// An error at the token where simdjson stopped.
  Error syntax_error();
  Error string_error(const char* position) const;
  void require_end();

  simdjson::padded_string text_;
  uint64_t text_offset_;
  Dialect dialect_;
  bool had_lone_surrogate_ = false;
  simdjson::ondemand::parser parser_;
  simdjson::ondemand::document document_;
  std::vector<Key> keys_;  ///< of all objects that are open
  std::vector<uint8_t> unescaped_;
};

/// The start of `text` for a message: whole characters, at most 200 bytes.
std::string shorten(std::string_view text);

/// A copy of `text` as simdjson needs it. Throws Error(out_of_memory).
simdjson::padded_string padded_copy(std::string_view text);

/// An uninitialised buffer for a text of `bytes` bytes. Throws Error(out_of_memory).
simdjson::padded_string padded_buffer(uint64_t bytes);

template <class F, class Context>
std::optional<std::string_view> Value::for_each_member(F&& f, Context&& add_context) {
  read_ = true;
  simdjson::ondemand::object object;
  if (value_->get_object().get(object)) throw document_.syntax_error();
  const size_t first_key = document_.keys_.size();
  for (auto result : object) {
    simdjson::ondemand::field field;
    if (std::move(result).get(field)) throw document_.syntax_error();
    const char* key_position = field.key().raw() - 1;
    const std::string_view key = document_.unescape(field.key());
    document_.keys_.push_back({key, key_position});
    try {
      Value value(document_, &field.value(), field.value().raw_json_token(), depth_ + 1);
      f(key, value);
      value.finish();
    } catch (Error& inner_error) {
      add_context(inner_error, key);
      throw;
    }
  }
  return document_.require_distinct_keys(first_key, add_context);
}

template <class F>
void Value::for_each_element(F&& f) {
  read_ = true;
  simdjson::ondemand::array array;
  if (value_->get_array().get(array)) throw document_.syntax_error();
  for (auto result : array) {
    if (result.error()) throw document_.syntax_error();
    simdjson::ondemand::value element = result.value_unsafe();
    Value value(document_, &element, element.raw_json_token(), depth_ + 1);
    f(value);
    value.finish();
  }
}

template <class F>
void Document::read(F&& f) {
  // Read as any other value: simdjson's own entry for a root first looks at the last byte of the text, and
  // can then not say where a text that was cut off goes wrong.
  simdjson::ondemand::value value;
  if (document_.get_value().get(value)) throw not_a_container();
  Value root(*this, &value, value.raw_json_token(), 0);
  f(root);
  root.finish();
  require_end();
}

template <class Context>
std::optional<std::string_view> Document::require_distinct_keys(size_t first, Context&& add_context) {
  std::optional<std::string_view> twice;
  if (const Key* key = find_duplicate_key(first)) {
    if (dialect_ == Dialect::strict) {
      Error error = duplicate_key(*key);
      add_context(error, key->name);
      throw error;
    }
    twice = key->name;
  }
  keys_.resize(first);
  return twice;
}

}  // namespace hfload::json
