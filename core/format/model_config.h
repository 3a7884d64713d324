#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/base/error.h"
#include "core/format/dtype.h"

namespace hfload {

inline constexpr uint64_t kMaxConfigBytes = 16'000'000;

/// A JSON value of config.json; key order is the file's. A negative integer is an int64_t, any other a
/// uint64_t; one that fits neither is a double, as are numbers with a fraction or an exponent.
class ConfigValue {
 public:
  using Array = std::vector<ConfigValue>;
  using Object = std::vector<std::pair<std::string, ConfigValue>>;
  std::variant<std::nullptr_t, bool, int64_t, uint64_t, double, std::string, Array, Object> value = nullptr;

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(value); }
  /// The member of an object; null when this is no object or has no such member.
  const ConfigValue* find(std::string_view key) const;
};

/// A parsed config.json. The getters check the type and the range of what they return and throw
/// Error(invalid_config) naming the key; a key that is absent or null gives the fallback.
class ModelConfig {
 public:
  ModelConfig() = default;
  explicit ModelConfig(ConfigValue root) : root_(std::move(root)) {}

  /// Non-negative integer up to 2^48 (no dimension of a real model comes near; products are still checked).
  uint64_t get_uint(std::string_view key, uint64_t fallback) const;
  std::optional<uint64_t> get_uint(std::string_view key) const;
  /// Of the first of these names that is there: a family's own name and the common one that its
  /// `attribute_map` makes equal to it.
  uint64_t get_uint(std::initializer_list<std::string_view> keys, uint64_t fallback) const;
  /// A count of layers or labels: as get_uint, at most 100,000.
  uint64_t get_count(std::string_view key, uint64_t fallback) const;
  uint64_t get_count(std::initializer_list<std::string_view> keys, uint64_t fallback) const;
  /// The numbers of an array, each as get_uint; nothing when the key is absent or null.
  std::optional<std::vector<uint64_t>> get_uints(std::string_view key) const;
  /// The strings of an array; nothing when the key is absent or null.
  std::optional<std::vector<std::string>> get_strings(std::string_view key) const;
  /// What is no boolean counts as in Python: empty texts, lists and objects and 0 are false, all others true.
  bool get_bool(std::string_view key, bool fallback) const;
  std::string get_string(std::string_view key, std::string_view fallback) const;
  double get_double(std::string_view key, double fallback) const;
  const ConfigValue* find(std::string_view key) const { return root_.find(key); }
  const ConfigValue& root() const { return root_; }
  /// The nested config of that key (`text_config`), or an empty one. Where the dtype of this config is an
  /// object with that key, it is the dtype of the nested one.
  ModelConfig nested(std::string_view key) const;

  std::string model_type() const { return get_string("model_type", ""); }
  /// The class names; a text in the place of the list is one.
  std::vector<std::string> architectures() const;
  /// `dtype`, else `torch_dtype`, as torch names it ("bfloat16"), without "torch."; of an object, which has a
  /// dtype for each part of the model, that of the key "".
  std::optional<std::string> dtype() const;
  /// The same as a Dtype. Throws Error(invalid_config) for one that no weights can be loaded as.
  std::optional<Dtype> weight_dtype() const;
  /// As PretrainedConfig.num_labels: the size of `id2label` where present, else `num_labels`, else 2.
  uint64_t num_labels() const;
  /// What to throw for a value that is not `expected`: Error(invalid_config) with the key's full name and the
  /// file.
  Error invalid(std::string_view key, std::string_view expected) const;
  /// The file that the config was read from, for errors; of the nested ones too.
  void set_path(std::string path) { path_ = std::move(path); }
  /// Accepted oddities (Infinity and NaN, which Python's json writes), one sentence each.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  friend ModelConfig parse_model_config(std::string_view json);
  /// The full name of a key for messages: "text_config.hidden_size".
  std::string path_of(std::string_view key) const;
  /// `dtype`, else `torch_dtype`; null where neither is there.
  const ConfigValue* find_dtype() const;
  uint64_t get_uint_up_to(std::string_view key, const ConfigValue& found, uint64_t limit) const;

  ConfigValue root_{ConfigValue::Object{}};
  std::string prefix_, path_;
  std::vector<std::string> notes_;
};

/// Whether a JSON text may be all that Python's json module reads, or what RFC 8259 allows, each key once.
enum class JsonRules : uint8_t { python, strict };

/// Parses any JSON object or array, with one sentence in `notes` per accepted oddity. Pure. Throws Error of
/// exit status 3.
ConfigValue parse_config_value(std::string_view json, JsonRules rules, std::vector<std::string>& notes);

/// Parses a config.json: an object, nested at most 128 levels deep, by the rules of Python's json module: of
/// a key that stands twice the last value holds. Pure.
/// Throws Error of exit status 3.
ModelConfig parse_model_config(std::string_view json);

}  // namespace hfload
