#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <unordered_set>
#include <utility>

#include "core/base/error.h"
#include "core/format/model_config.h"
#include "core/plan/device_map.h"

namespace hfload {
namespace {

/// A module's name for a message: a hostile one may be as long as its file.
std::string in_quotes(std::string_view name) {
  constexpr size_t kLongest = 200;
  return name.size() <= kLongest ? fmt::format("'{}'", name)
                                 : fmt::format("'{}...'", name.substr(0, kLongest));
}

DeviceMapEntry entry_of(std::string module, const std::string& device) {
  try {
    const Device parsed = parse_device(device);
    return {std::move(module), parsed};
  } catch (const Error& error) {
    throw Error(error.code(),
                fmt::format("the device of {}: {} is not a device", in_quotes(module), in_quotes(device)))
        .with_hint(error.hint());
  }
}

/// Reads what Python prints for a dictionary of strings to strings and integers, and nothing else of Python.
/// The text is valid UTF-8.
class PythonDictReader {
 public:
  explicit PythonDictReader(std::string_view text) : text_(text) {}

  DeviceMap read() {
    skip_spaces();
    expect('{', "a dictionary");
    skip_spaces();
    while (!take('}')) {
      read_entry();
      skip_spaces();
      if (take(',')) {
        skip_spaces();
      } else if (peek() != '}') {
        fail("a comma or a closing brace");
      }
    }
    skip_spaces();
    if (at_ < text_.size()) fail("the end of the text");
    return std::move(map_);
  }

 private:
  void read_entry() {
    const size_t begin = at_;
    std::string module = read_string("the name of a module in quotes");
    if (!names_.insert(module).second) {
      throw Error(ErrorCode::duplicate_key, fmt::format("the device map names {} twice", in_quotes(module)))
          .with_offset(begin);
    }
    skip_spaces();
    expect(':', "a colon");
    skip_spaces();
    const bool is_number = is_digit(peek());
    std::string device = is_number ? read_digits() : read_string("a device, a number or a name in quotes");
    map_.push_back(entry_of(std::move(module), device));
  }

  std::string read_digits() {
    const size_t begin = at_;
    while (is_digit(peek())) ++at_;
    const std::string_view digits = text_.substr(begin, at_ - begin);
    if (digits.size() > 1 && digits[0] == '0') fail_at(begin, "a number without zeros before it");
    return std::string(digits);
  }

  std::string read_string(const char* wanted) {
    const char quote = peek();
    if (quote != '\'' && quote != '"') fail(wanted);
    ++at_;
    std::string value;
    while (!take(quote)) {
      const char c = peek();
      if (c == '\0' || c == '\n' || c == '\r') fail("the end of the string");
      ++at_;
      if (c == '\\') {
        append_utf8(value, read_escape());
      } else {
        value += c;
      }
    }
    return value;
  }

  /// The code point of an escape of those that Python's repr writes, after the backslash.
  uint32_t read_escape() {
    const size_t begin = at_ - 1;
    const char c = peek();
    if (at_ < text_.size()) ++at_;
    switch (c) {
      case '\\':
      case '\'':
      case '"':
        return static_cast<unsigned char>(c);
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'x':
        return read_hexadecimal(begin, 2);
      case 'u':
        return read_hexadecimal(begin, 4);
      case 'U':
        return read_hexadecimal(begin, 8);
      default:
        fail_at(begin, "an escape that Python writes");
    }
  }

  uint32_t read_hexadecimal(size_t begin, size_t digits) {
    uint32_t value = 0;
    for (size_t i = 0; i < digits; ++i, ++at_) {
      const std::optional<uint32_t> digit = hexadecimal_digit(peek());
      if (!digit) fail_at(begin, "an escape that Python writes");
      value = value << 4 | *digit;
    }
    const bool is_surrogate = value >= 0xD800 && value <= 0xDFFF;
    if (value > 0x10FFFF || is_surrogate) fail_at(begin, "a character");
    return value;
  }

  static std::optional<uint32_t> hexadecimal_digit(char c) {
    if (is_digit(c)) return static_cast<uint32_t>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<uint32_t>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') return static_cast<uint32_t>(c - 'A' + 10);
    return std::nullopt;
  }

  static void append_utf8(std::string& text, uint32_t c) {
    const auto add = [&](uint32_t byte) { text += static_cast<char>(byte); };
    const auto add_tail = [&](int shift) { add(0x80 | (c >> shift & 0x3F)); };
    if (c < 0x80) {
      add(c);
    } else if (c < 0x800) {
      add(0xC0 | c >> 6);
      add_tail(0);
    } else if (c < 0x10000) {
      add(0xE0 | c >> 12);
      add_tail(6);
      add_tail(0);
    } else {
      add(0xF0 | c >> 18);
      add_tail(12);
      add_tail(6);
      add_tail(0);
    }
  }

  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  /// The next character; NUL, which no string may hold as it is, at the end.
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  bool take(char c) {
    if (peek() != c || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  void expect(char c, const char* wanted) {
    if (!take(c)) fail(wanted);
  }
  void skip_spaces() {
    while (at_ < text_.size() && std::string_view(" \t\n\r\f").find(text_[at_]) != std::string_view::npos)
      ++at_;
  }

  [[noreturn]] void fail(const char* wanted) const { fail_at(at_, wanted); }
  [[noreturn]] static void fail_at(size_t offset, const char* wanted) {
    throw Error(ErrorCode::malformed_device_map, fmt::format("there should be {} here", wanted))
        .with_offset(offset);
  }

  std::string_view text_;
  size_t at_ = 0;
  std::unordered_set<std::string, NameHash> names_;
  DeviceMap map_;
};

std::string device_text(const std::string& module, const ConfigValue& value) {
  if (const auto* text = std::get_if<std::string>(&value.value)) return *text;
  if (const auto* number = std::get_if<int64_t>(&value.value)) return std::to_string(*number);
  if (const auto* number = std::get_if<uint64_t>(&value.value)) return std::to_string(*number);
  throw Error(ErrorCode::invalid_device_map,
              fmt::format("the device of {} is neither a number nor a string", in_quotes(module)));
}

/// The map of a plan that was printed with --json; else the document itself.
const ConfigValue& map_in(const ConfigValue& root) {
  const ConfigValue* schema = root.find("schema");
  const auto* form = schema == nullptr ? nullptr : std::get_if<std::string>(&schema->value);
  if (form == nullptr || !form->starts_with("hfload.")) return root;
  const ConfigValue* map = root.find("hf_device_map");
  if ((*form == "hfload.plan/1" || *form == "hfload.load/1") && map != nullptr) return *map;
  throw Error(ErrorCode::invalid_device_map,
              fmt::format("a document of the form {} holds no device map", *form));
}

DeviceMap map_of(const ConfigValue& root) {
  const auto* object = std::get_if<ConfigValue::Object>(&map_in(root).value);
  if (object == nullptr) throw Error(ErrorCode::invalid_device_map, "the JSON text is not an object");
  DeviceMap map;
  for (const auto& [module, device] : *object) map.push_back(entry_of(module, device_text(module, device)));
  return map;
}

DeviceMap read_map(std::string_view text) {
  try {
    std::vector<std::string> notes;
    return map_of(parse_config_value(text, JsonRules::strict, notes));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::invalid_json) throw;
    try {
      return PythonDictReader(text).read();
    } catch (const Error&) {
      // Which of the two languages it was meant to be, only the quotes tell.
      if (text.find('\'') != std::string_view::npos) throw;
      throw error;
    }
  }
}

std::string quote_python(std::string_view text) {
  std::string quoted = "'";
  for (const char c : text) {
    if (c == '\'' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      quoted += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + "'";
}

}  // namespace

DeviceMap parse_device_map(std::string_view text) {
  DeviceMap map = read_map(text);
  if (map.empty()) throw Error(ErrorCode::invalid_device_map, "the device map is empty");
  return map;
}

std::string format_device_map(const DeviceMap& map) {
  std::string text = "{";
  for (size_t i = 0; i < map.size(); ++i) {
    const Device device = map[i].device;
    const std::string value = device.is_gpu() ? to_string(device) : fmt::format("'{}'", to_string(device));
    text += fmt::format("{}{}: {}", i == 0 ? "" : ",\n ", quote_python(map[i].module), value);
  }
  return text + "}";
}

}  // namespace hfload
