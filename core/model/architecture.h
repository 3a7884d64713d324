#pragma once

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>

#include "core/format/model_config.h"
#include "core/model/module_builder.h"

namespace hfload {

/// Up to twelve names, so that a table of classes is a constant.
struct NameList {
  std::array<std::string_view, 12> names{};
  size_t count = 0;
  constexpr NameList(std::initializer_list<std::string_view> list = {}) : count(list.size()) {
    std::ranges::copy(list, names.begin());
  }
  constexpr auto begin() const { return names.begin(); }
  constexpr auto end() const { return names.begin() + static_cast<std::ptrdiff_t>(count); }
};

/// A checkpoint's name for tensors and the model's own: a regular expression and what every match is replaced
/// by.
struct KeyRename {
  std::string_view pattern, replacement;
};

/// One class that a checkpoint can be saved from, such as LlamaForCausalLM. Lists are those of transformers
/// 4.57; a `v5_` member says what transformers 5 has instead, where it differs.
struct ModelClass {
  std::string_view name;
  std::string_view base_model_prefix;
  /// Declares every module, parameter and buffer in the order of the class's `__init__`, then its ties.
  void (*declare)(ModuleBuilder& b, const ModelConfig& config);
  /// `_no_split_modules` of the class and of the models inside it; empty where the class has none, and Python
  /// splits inside its layers.
  NameList no_split_modules = {};
  NameList keep_in_fp32 = {};         ///< `_keep_in_fp32_modules`: float32 where the model is float16
  NameList keep_in_fp32_strict = {};  ///< `_keep_in_fp32_modules_strict`: also where it is bfloat16
  NameList ignore_missing = {};       ///< `_keys_to_ignore_on_load_missing`, regular expressions
  NameList ignore_unexpected = {};    ///< `_keys_to_ignore_on_load_unexpected`, regular expressions
  std::optional<std::string_view> v5_base_model_prefix = {};
  std::optional<NameList> v5_no_split_modules = {};
  std::optional<NameList> v5_keep_in_fp32 = {};
  std::optional<NameList> v5_keep_in_fp32_strict = {};
  std::optional<NameList> v5_ignore_missing = {};
  std::optional<NameList> v5_ignore_unexpected = {};
  /// `_checkpoint_conversion_mapping`: the first of these that matches a checkpoint's name renames it.
  std::span<const KeyRename> key_renames = {};
  std::string_view legacy_name = {};  ///< an older name of the class, which published config.json files give
};

/// A family of model classes: one file under core/model/architecture/, one line in its list.inc.
struct Architecture {
  std::string_view model_type;
  std::span<const ModelClass> classes;  ///< the first is taken when config.json names none
};

/// All known architectures, sorted by model_type.
std::span<const Architecture* const> architectures();

/// Nothing for an unknown model_type.
const Architecture* find_architecture(std::string_view model_type);

}  // namespace hfload
