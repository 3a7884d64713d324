#include "core/format/json.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>

namespace hfload::json {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

size_t skip_digits(std::string_view text, size_t at) {
  while (at < text.size() && is_digit(text[at])) ++at;
  return at;
}

/// RFC 8259, section 6.
bool is_json_number(std::string_view text) {
  size_t at = text.starts_with('-') ? 1 : 0;
  const size_t integer_end = skip_digits(text, at);
  if (integer_end == at || (text[at] == '0' && integer_end > at + 1)) return false;
  at = integer_end;
  if (at < text.size() && text[at] == '.') {
    const size_t fraction_end = skip_digits(text, at + 1);
    if (fraction_end == at + 1) return false;
    at = fraction_end;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    const size_t exponent_end = skip_digits(text, at);
    if (exponent_end == at) return false;
    at = exponent_end;
  }
  return at == text.size();
}

bool is_non_finite_word(std::string_view text) {
  return text == "NaN" || text == "Infinity" || text == "-Infinity";
}

std::string_view trim_end(std::string_view token) {
  while (!token.empty() &&
         (token.back() == ' ' || token.back() == '\n' || token.back() == '\r' || token.back() == '\t')) {
    token.remove_suffix(1);
  }
  return token;
}

/// Bytes of the well-formed UTF-8 sequence at the start of `text` (Unicode 15, table 3-7); 0 where there is
/// none.
size_t utf8_sequence_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto in = [&](size_t i, unsigned low, unsigned high) { return byte(i) >= low && byte(i) <= high; };
  const auto tail = [&](size_t i) { return in(i, 0x80, 0xBF); };
  if (byte(0) < 0x80) return 1;
  if (in(0, 0xC2, 0xDF)) return tail(1) ? 2 : 0;
  if (in(0, 0xE0, 0xEF)) {
    const bool second = byte(0) == 0xE0 ? in(1, 0xA0, 0xBF) : byte(0) == 0xED ? in(1, 0x80, 0x9F) : tail(1);
    return second && tail(2) ? 3 : 0;
  }
  if (in(0, 0xF0, 0xF4)) {
    const bool second = byte(0) == 0xF0 ? in(1, 0x90, 0xBF) : byte(0) == 0xF4 ? in(1, 0x80, 0x8F) : tail(1);
    return second && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

size_t find_invalid_utf8(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t length = utf8_sequence_length(text.substr(at));
    if (length == 0) break;
    at += length;
  }
  return at;
}

/// The first raw control character inside a string, or the quote of a string that does not end.
std::pair<size_t, std::string_view> find_string_fault(std::string_view text) {
  std::optional<size_t> open_quote;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (!open_quote) {
      if (c == '"') open_quote = at;
    } else if (c == '\\') {
      ++at;
    } else if (c == '"') {
      open_quote.reset();
    } else if (static_cast<uint8_t>(c) < 0x20) {
      return {at, "a string has a control character that is not escaped"};
    }
  }
  return {open_quote.value_or(text.size()), "a string does not end"};
}

/// The 16-bit number of an escape (backslash, "u", four digits) at `at`; nothing where none stands there.
std::optional<unsigned> escaped_unit(std::string_view text, size_t at) {
  constexpr size_t kEscapeBytes = 6;
  if (text.size() - at < kEscapeBytes || text[at] != '\\' || text[at + 1] != 'u') return std::nullopt;
  unsigned unit = 0;
  const char* const end = text.data() + at + kEscapeBytes;
  const auto [stop, error] = std::from_chars(text.data() + at + 2, end, unit, 16);
  return error == std::errc() && stop == end ? std::optional(unit) : std::nullopt;
}

/// Puts U+FFFD in the place of escapes that are half of a surrogate pair. Returns whether there was one.
bool replace_lone_surrogates(char* begin, size_t bytes) {
  const std::string_view text(begin, bytes);
  bool found = false;
  for (size_t at = text.find('\\'); at < bytes; at = text.find('\\', at)) {
    const std::optional<unsigned> unit = escaped_unit(text, at);
    if (!unit) {
      at += 2;
      continue;
    }
    const bool is_first = *unit >= 0xD800 && *unit < 0xDC00, is_second = *unit >= 0xDC00 && *unit < 0xE000;
    const std::optional<unsigned> next = is_first ? escaped_unit(text, at + 6) : std::nullopt;
    if (next && *next >= 0xDC00 && *next < 0xE000) {
      at += 12;
      continue;
    }
    if (is_first || is_second) {
      std::copy_n("\\ufffd", 6, begin + at);
      found = true;
    }
    at += 6;
  }
  return found;
}

std::string describe(char c) {
  if (c > ' ' && c < '\x7f') return fmt::format("\"{}\"", c);
  return fmt::format("byte 0x{:02x}", static_cast<uint8_t>(c));
}

}  // namespace

Value::Value(Document& document, simdjson::ondemand::value* value, std::string_view raw_token, unsigned depth)
    : document_(document), value_(value), token_(raw_token.substr(0, 1)), depth_(depth) {
  const char first = token_.empty() ? '\0' : token_[0];
  const auto fail = [&](ErrorCode code, std::string message) {
    throw Error(code, std::move(message)).with_offset(offset());
  };
  switch (first) {
    case '{':
    case '[':
      kind_ = first == '{' ? Kind::object : Kind::array;
      if (depth >= kMaxDepth)
        fail(ErrorCode::json_too_deep, fmt::format("the JSON text nests deeper than {} levels", kMaxDepth));
      return;
    case '"':
      kind_ = Kind::string;
      return;
    case 't':
    case 'f':
    case 'n':
      token_ = trim_end(raw_token);
      kind_ = first == 'n' ? Kind::null : Kind::boolean;
      if (token_ != "true" && token_ != "false" && token_ != "null")
        fail(ErrorCode::invalid_json, "a word is neither true, false nor null");
      return;
    default:
      break;
  }
  const bool like_number = first == '-' || is_digit(first);
  if (like_number || first == 'N' || first == 'I') {
    token_ = trim_end(raw_token);
    kind_ = Kind::number;
    if (is_json_number(token_)) return;
    if (is_non_finite_word(token_)) {
      if (document.dialect_ == Dialect::python) return;
      fail(ErrorCode::invalid_json, fmt::format("{} is not a JSON value", token_));
    }
    if (like_number) fail(ErrorCode::invalid_number, "a number is malformed");
  }
  const uint64_t end = document.offset_of(document.text_.data() + document.text_.size());
  if (offset() >= end) fail(ErrorCode::invalid_json, "the JSON text ends where a value is due");
  fail(ErrorCode::invalid_json, fmt::format("{} stands where a value is due", describe(first)));
}

uint64_t Value::offset() const { return document_.offset_of(token_.data()); }

uint64_t Value::uint64() const {
  uint64_t number = 0;
  const char* end = token_.data() + token_.size();
  const auto [stop, error] = std::from_chars(token_.data(), end, number);
  if (error == std::errc() && stop == end) return number;
  throw Error(ErrorCode::invalid_number,
              fmt::format("{} is not an integer from 0 to 2^64 - 1", shorten(token_)))
      .with_offset(offset());
}

std::string_view Value::string() {
  read_ = true;
  simdjson::ondemand::raw_json_string raw;
  if (value_->get_raw_json_string().get(raw)) throw document_.string_error(token_.data());
  return document_.unescape(raw);
}

void Value::finish() {
  if (read_) return;
  if (kind_ == Kind::object) {
    for_each_member([](std::string_view, Value&) {});
  } else if (kind_ == Kind::array) {
    for_each_element([](Value&) {});
  } else if (kind_ == Kind::string) {
    string();
  }
}

Document::Document(simdjson::padded_string text, uint64_t text_offset, Dialect dialect)
    : text_(std::move(text)), text_offset_(text_offset), dialect_(dialect) {
  const std::string_view view(text_.data(), text_.size());
  const auto fail = [&](ErrorCode code, std::string message, size_t at) {
    throw Error(code, std::move(message)).with_offset(text_offset_ + at);
  };
  if (!simdjson::validate_utf8(view))
    fail(ErrorCode::invalid_utf8, "the JSON text is not valid UTF-8", find_invalid_utf8(view));
  if (view.starts_with("\xEF\xBB\xBF"))
    fail(ErrorCode::invalid_json, "the JSON text starts with a byte order mark", 0);
  if (dialect_ == Dialect::python) had_lone_surrogate_ = replace_lone_surrogates(text_.data(), text_.size());
  const simdjson::error_code error = parser_.iterate(text_).get(document_);
  switch (error) {
    case simdjson::SUCCESS:
      return;
    case simdjson::EMPTY:
      fail(ErrorCode::invalid_json, "the JSON text is empty", 0);
      break;
    case simdjson::MEMALLOC:
      throw Error(ErrorCode::out_of_memory,
                  fmt::format("not enough memory to parse a JSON text of {} bytes", view.size()));
    case simdjson::UNESCAPED_CHARS:
    case simdjson::UNCLOSED_STRING: {
      const auto [at, message] = find_string_fault(view);
      fail(ErrorCode::invalid_json, std::string(message), at);
      break;
    }
    default:
      fail(ErrorCode::invalid_json,
           fmt::format("the JSON text cannot be read: {}", simdjson::error_message(error)), 0);
  }
}

uint64_t Document::offset_of(const char* position) const {
  const char* end = text_.data() + text_.size();
  return text_offset_ + static_cast<uint64_t>(std::clamp(position, text_.data(), end) - text_.data());
}

std::string_view Document::unescape(simdjson::ondemand::raw_json_string string) {
  // Most strings have no escapes, and need no copy. All end within the text, as its index says.
  char* const begin = text_.data() + (string.raw() - text_.data());
  char* const end = text_.data() + text_.size();
  char* const stop = std::find_if(begin, end, [](char c) { return c == '"' || c == '\\'; });
  if (stop == end || *stop == '"') return {begin, static_cast<size_t>(stop - begin)};
  char* quote = stop;
  while (quote < end && *quote != '"') quote += *quote == '\\' ? 2 : 1;
  unescaped_.resize(static_cast<size_t>(std::max(quote, begin) - begin) + simdjson::SIMDJSON_PADDING);
  uint8_t* into = unescaped_.data();
  std::string_view text;
  if (parser_.unescape(string, into).get(text)) throw string_error(begin - 1);
  std::copy(text.begin(), text.end(), begin);
  return {begin, text.size()};
}

const Document::Key* Document::find_duplicate_key(size_t first) const {
  const size_t count = keys_.size() - first;
  constexpr size_t kFewKeys = 8;
  if (count <= kFewKeys) {
    for (size_t second = first + 1; second < keys_.size(); ++second) {
      for (size_t i = first; i < second; ++i) {
        if (keys_[i].name == keys_[second].name) return &keys_[second];
      }
    }
    return nullptr;
  }
  // Sorted by hash and not put into a hash table, as names chosen to collide must not make this quadratic.
  struct Hashed {
    size_t hash;
    const Key* key;
  };
  std::vector<Hashed> hashed;
  hashed.reserve(count);
  for (size_t i = first; i < keys_.size(); ++i)
    hashed.push_back({std::hash<std::string_view>()(keys_[i].name), &keys_[i]});
  std::sort(hashed.begin(), hashed.end(), [](const Hashed& a, const Hashed& b) {
    if (a.hash != b.hash) return a.hash < b.hash;
    if (const int order = a.key->name.compare(b.key->name); order != 0) return order < 0;
    return a.key < b.key;
  });
  const Key* duplicate = nullptr;
  for (size_t i = 1; i < hashed.size(); ++i) {
    const bool equal = hashed[i].hash == hashed[i - 1].hash && hashed[i].key->name == hashed[i - 1].key->name;
    if (equal && (duplicate == nullptr || hashed[i].key < duplicate)) duplicate = hashed[i].key;
  }
  return duplicate;
}

Error Document::duplicate_key(const Key& key) const {
  return Error(ErrorCode::duplicate_key,
               fmt::format("the key \"{}\" stands twice in one JSON object", shorten(key.name)))
      .with_offset(offset_of(key.position));
}

const char* Document::position() {
  const char* current = nullptr;
  if (document_.current_location().get(current)) return text_.data() + text_.size();
  return current;
}

Error Document::not_a_container() {
  return Error(ErrorCode::invalid_json, "the JSON text is neither an object nor an array")
      .with_offset(offset_of(position()));
}

Error Document::syntax_error() {
  const char* current = position();
  if (current >= text_.data() + text_.size()) {
    return Error(ErrorCode::invalid_json, "the JSON text ends before its last object or array does")
        .with_offset(offset_of(current));
  }
  return Error(ErrorCode::invalid_json,
               fmt::format("{} stands where the JSON text should go on otherwise", describe(*current)))
      .with_offset(offset_of(current));
}

Error Document::string_error(const char* position) const {
  return Error(ErrorCode::invalid_json, "a string has an invalid escape").with_offset(offset_of(position));
}

void Document::require_end() {
  const char* current = position();
  if (current >= text_.data() + text_.size()) return;
  throw Error(ErrorCode::invalid_json, "more text follows the end of the JSON text")
      .with_offset(offset_of(current));
}

std::string shorten(std::string_view text) {
  constexpr size_t kMaxBytes = 200;
  if (text.size() <= kMaxBytes) return std::string(text);
  size_t end = kMaxBytes;
  while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) --end;
  return fmt::format("{}...", text.substr(0, end));
}

simdjson::padded_string padded_buffer(uint64_t bytes) {
  simdjson::padded_string buffer(bytes);
  if (buffer.data() == nullptr) {
    throw Error(ErrorCode::out_of_memory,
                fmt::format("not enough memory for a JSON text of {} bytes", bytes));
  }
  return buffer;
}

simdjson::padded_string padded_copy(std::string_view text) {
  simdjson::padded_string copy = padded_buffer(text.size());
  std::copy(text.begin(), text.end(), copy.data());
  return copy;
}

}  // namespace hfload::json
