#include "core/format/model_config.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <map>

#include "core/base/error.h"
#include "core/format/json.h"
#include "core/format/lfs_pointer.h"

namespace hfload {
namespace {

constexpr uint64_t kMaxUint = uint64_t{1} << 48;
constexpr uint64_t kMaxCount = 100'000;
constexpr const char* kHint = "Mend this in config.json, or download the file again.";

class ValueReader {
 public:
  explicit ValueReader(std::vector<std::string>& notes) : notes_(notes) {}

  ConfigValue read(json::Value& value) {
    switch (value.kind()) {
      case json::Kind::null:
        return {};
      case json::Kind::boolean:
        return {value.boolean()};
      case json::Kind::string:
        return {std::string(value.string())};
      case json::Kind::number:
        return read_number(value);
      case json::Kind::array: {
        ConfigValue::Array array;
        value.for_each_element([&](json::Value& element) { array.push_back(read(element)); });
        return {std::move(array)};
      }
      case json::Kind::object: {
        ConfigValue::Object object;
        const auto twice = value.for_each_member(
            [&](std::string_view key, json::Value& member) { object.emplace_back(key, read(member)); });
        if (twice) {
          add_note(fmt::format("the key '{}' stands twice: as in Python, the last value holds",
                               json::shorten(*twice)));
          keep_last_values(object);
        }
        return {std::move(object)};
      }
    }
    return {};
  }

 private:
  static void keep_last_values(ConfigValue::Object& object) {
    std::map<std::string, size_t, std::less<>> position_of;
    ConfigValue::Object distinct;
    for (auto& [key, value] : object) {
      const auto [position, is_new] = position_of.try_emplace(key, distinct.size());
      if (is_new) {
        distinct.emplace_back(key, std::move(value));
      } else {
        distinct[position->second].second = std::move(value);
      }
    }
    object = std::move(distinct);
  }

  ConfigValue read_number(const json::Value& value) {
    const std::string_view text = value.number();
    const char* end = text.data() + text.size();
    const auto parse = [&](auto& number) {
      const auto [stop, error] = std::from_chars(text.data(), end, number);
      return error == std::errc() && stop == end;
    };
    if (text == "NaN") return non_finite(text, std::numeric_limits<double>::quiet_NaN());
    if (text == "Infinity") return non_finite(text, std::numeric_limits<double>::infinity());
    if (text == "-Infinity") return non_finite(text, -std::numeric_limits<double>::infinity());
    if (uint64_t number = 0; parse(number)) return {number};
    if (int64_t number = 0; parse(number)) {
      // Python's json reads -0 as the integer 0.
      if (number == 0) return {uint64_t{0}};
      return {number};
    }
    double number = 0;
    if (!parse(number)) {
      // Python reads 1e999 as infinity, and 1e-999 as 0.
      number = std::strtod(std::string(text).c_str(), nullptr);
      add_note(fmt::format("the number {} is outside of what a double holds, and {} as in Python",
                           json::shorten(text), number));
      return {number};
    }
    if (text.find_first_of(".eE") == std::string_view::npos) {
      add_note(fmt::format("the integer {} does not fit in 64 bits and is kept as a floating-point number",
                           json::shorten(text)));
    }
    return {number};
  }

  ConfigValue non_finite(std::string_view text, double number) {
    add_note(fmt::format("{} is no JSON, but Python writes it", text));
    return {number};
  }

  void add_note(std::string note) {
    constexpr size_t kMaxNotes = 16;
    if (notes_.size() < kMaxNotes && std::find(notes_.begin(), notes_.end(), note) == notes_.end()) {
      notes_.push_back(std::move(note));
    }
  }

  std::vector<std::string>& notes_;
};

/// The value of that key; null when it is absent or null.
const ConfigValue* find_present(const ConfigValue& root, std::string_view key) {
  const ConfigValue* found = root.find(key);
  return found == nullptr || found->is_null() ? nullptr : found;
}

/// Booleans that were written as texts, which Python takes for true whatever they say.
void note_texts_for_booleans(const ConfigValue& config, const std::string& prefix,
                             std::vector<std::string>& notes) {
  const auto is_word = [](std::string_view text, std::string_view word) {
    return std::ranges::equal(text, word, [](char a, char b) { return (a | 0x20) == b; });
  };
  for (const auto& [key, value] : std::get<ConfigValue::Object>(config.value)) {
    const auto* text = std::get_if<std::string>(&value.value);
    if (text != nullptr && (is_word(*text, "true") || is_word(*text, "false"))) {
      notes.push_back(fmt::format("{}{} is the text \"{}\" and no boolean: Python takes any text for true",
                                  prefix, key, *text));
    }
    if (prefix.empty() && std::holds_alternative<ConfigValue::Object>(value.value))
      note_texts_for_booleans(value, key + ".", notes);
  }
}

}  // namespace

const ConfigValue* ConfigValue::find(std::string_view key) const {
  const auto* object = std::get_if<Object>(&value);
  if (object == nullptr) return nullptr;
  const auto member =
      std::find_if(object->begin(), object->end(), [&](const auto& entry) { return entry.first == key; });
  return member == object->end() ? nullptr : &member->second;
}

std::string ModelConfig::path_of(std::string_view key) const { return prefix_ + std::string(key); }

Error ModelConfig::invalid(std::string_view key, std::string_view expected) const {
  return Error(ErrorCode::invalid_config, fmt::format("{} is not {}", path_of(key), expected))
      .with_path(path_)
      .with_hint(kHint);
}

uint64_t ModelConfig::get_uint_up_to(std::string_view key, const ConfigValue& found, uint64_t limit) const {
  const auto* number = std::get_if<uint64_t>(&found.value);
  if (number == nullptr || *number > limit) {
    throw invalid(key, fmt::format("an integer from 0 to {}", limit));
  }
  return *number;
}

std::optional<uint64_t> ModelConfig::get_uint(std::string_view key) const {
  const ConfigValue* found = find_present(root_, key);
  if (found == nullptr) return std::nullopt;
  return get_uint_up_to(key, *found, kMaxUint);
}

uint64_t ModelConfig::get_uint(std::string_view key, uint64_t fallback) const {
  return get_uint(key).value_or(fallback);
}

uint64_t ModelConfig::get_count(std::string_view key, uint64_t fallback) const {
  const ConfigValue* found = find_present(root_, key);
  return found == nullptr ? fallback : get_uint_up_to(key, *found, kMaxCount);
}

uint64_t ModelConfig::get_uint(std::initializer_list<std::string_view> keys, uint64_t fallback) const {
  for (const std::string_view key : keys) {
    if (const auto found = get_uint(key)) return *found;
  }
  return fallback;
}

uint64_t ModelConfig::get_count(std::initializer_list<std::string_view> keys, uint64_t fallback) const {
  for (const std::string_view key : keys) {
    if (find_present(root_, key) != nullptr) return get_count(key, fallback);
  }
  return fallback;
}

std::optional<std::vector<uint64_t>> ModelConfig::get_uints(std::string_view key) const {
  const ConfigValue* found = find_present(root_, key);
  if (found == nullptr) return std::nullopt;
  const auto* array = std::get_if<ConfigValue::Array>(&found->value);
  if (array == nullptr) throw invalid(key, "an array of integers");
  std::vector<uint64_t> numbers;
  for (const ConfigValue& element : *array) numbers.push_back(get_uint_up_to(key, element, kMaxUint));
  return numbers;
}

std::optional<std::vector<std::string>> ModelConfig::get_strings(std::string_view key) const {
  const ConfigValue* found = find_present(root_, key);
  if (found == nullptr) return std::nullopt;
  const auto* array = std::get_if<ConfigValue::Array>(&found->value);
  if (array == nullptr) throw invalid(key, "an array of strings");
  std::vector<std::string> strings;
  for (const ConfigValue& element : *array) {
    const auto* text = std::get_if<std::string>(&element.value);
    if (text == nullptr) throw invalid(key, "an array of strings");
    strings.push_back(*text);
  }
  return strings;
}

bool ModelConfig::get_bool(std::string_view key, bool fallback) const {
  const ConfigValue* found = find_present(root_, key);
  if (found == nullptr) return fallback;
  return std::visit(
      [](const auto& value) {
        using Value = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<Value, std::nullptr_t>) {
          return false;
        } else if constexpr (std::is_arithmetic_v<Value>) {
          return value != 0;
        } else {
          return !value.empty();
        }
      },
      found->value);
}

std::string ModelConfig::get_string(std::string_view key, std::string_view fallback) const {
  const ConfigValue* found = find_present(root_, key);
  if (found == nullptr) return std::string(fallback);
  if (const auto* text = std::get_if<std::string>(&found->value)) return *text;
  throw invalid(key, "a string");
}

double ModelConfig::get_double(std::string_view key, double fallback) const {
  const ConfigValue* found = find_present(root_, key);
  if (found == nullptr) return fallback;
  if (const auto* number = std::get_if<double>(&found->value)) return *number;
  if (const auto* number = std::get_if<uint64_t>(&found->value)) return static_cast<double>(*number);
  if (const auto* number = std::get_if<int64_t>(&found->value)) return static_cast<double>(*number);
  throw invalid(key, "a number");
}

ModelConfig ModelConfig::nested(std::string_view key) const {
  ModelConfig config;
  config.prefix_ = path_of(key) + ".";
  config.path_ = path_;
  if (const ConfigValue* found = find_present(root_, key)) {
    if (!std::holds_alternative<ConfigValue::Object>(found->value)) throw invalid(key, "an object");
    config.root_ = *found;
  }
  const ConfigValue* dtypes = find_dtype();
  const ConfigValue* dtype = dtypes == nullptr ? nullptr : find_present(*dtypes, key);
  if (dtype != nullptr) {
    auto& members = std::get<ConfigValue::Object>(config.root_.value);
    std::erase_if(members, [](const auto& member) { return member.first == "dtype"; });
    members.emplace_back("dtype", *dtype);
  }
  return config;
}

std::vector<std::string> ModelConfig::architectures() const {
  const ConfigValue* found = root_.find("architectures");
  if (found != nullptr && std::holds_alternative<std::string>(found->value))
    return {std::get<std::string>(found->value)};
  return get_strings("architectures").value_or(std::vector<std::string>{});
}

const ConfigValue* ModelConfig::find_dtype() const {
  const ConfigValue* found = find_present(root_, "dtype");
  return found != nullptr ? found : find_present(root_, "torch_dtype");
}

std::optional<std::string> ModelConfig::dtype() const {
  const ConfigValue* found = find_dtype();
  if (found != nullptr && std::holds_alternative<ConfigValue::Object>(found->value))
    found = find_present(*found, "");
  if (found == nullptr) return std::nullopt;
  const auto* text = std::get_if<std::string>(&found->value);
  if (text == nullptr) throw invalid("dtype", "a string");
  return text->starts_with("torch.") ? text->substr(6) : *text;
}

std::optional<Dtype> ModelConfig::weight_dtype() const {
  const std::optional<std::string> name = dtype();
  if (!name) return std::nullopt;
  const auto dtype = dtype_from_torch_name(*name);
  if (dtype && dtype_info(*dtype).is_float) return dtype;
  throw Error(ErrorCode::invalid_config, fmt::format("{} is '{}', which no weights can be loaded as",
                                                     path_of("dtype"), json::shorten(*name)))
      .with_path(path_)
      .with_hint("Say what to load as with --dtype float32, float16 or bfloat16.");
}

uint64_t ModelConfig::num_labels() const {
  const ConfigValue* id2label = find_present(root_, "id2label");
  if (id2label == nullptr) return get_count("num_labels", 2);
  const auto* labels = std::get_if<ConfigValue::Object>(&id2label->value);
  if (labels == nullptr || labels->size() > kMaxCount) {
    throw invalid("id2label", fmt::format("an object of at most {} labels", kMaxCount));
  }
  return labels->size();
}

ConfigValue parse_config_value(std::string_view json, JsonRules rules, std::vector<std::string>& notes) {
  refuse_lfs_pointer(json);
  json::Document document(json::padded_copy(json), 0,
                          rules == JsonRules::python ? json::Dialect::python : json::Dialect::strict);
  ConfigValue result;
  document.read([&](json::Value& root) { result = ValueReader(notes).read(root); });
  if (document.had_lone_surrogate())
    notes.emplace_back("a text has half of a surrogate pair, which Python accepts");
  return result;
}

ModelConfig parse_model_config(std::string_view json) {
  try {
    ModelConfig config;
    config.root_ = parse_config_value(json, JsonRules::python, config.notes_);
    if (!std::holds_alternative<ConfigValue::Object>(config.root_.value)) {
      throw Error(ErrorCode::invalid_config, "the file is not a JSON object").with_offset(0);
    }
    note_texts_for_booleans(config.root_, "", config.notes_);
    return config;
  } catch (Error& error) {
    if (error.hint().empty()) error.with_hint(kHint);
    throw;
  }
}

}  // namespace hfload
