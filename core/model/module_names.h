#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/text_pool.h"

namespace hfload {

using ModuleId = uint32_t;  ///< index into ModuleTree::modules; 0 is the model itself
using TensorId = uint32_t;  ///< index into ModuleTree::tensors
inline constexpr uint32_t kNoId = UINT32_MAX;

/// The dotted names of a tree's modules, each kept as its last component and the module above it: 12 bytes,
/// where a model may have 10^5 modules whose names begin alike. A name of a tensor is that of a module, which
/// may be kNoId for none, and its own last component.
class ModuleNames {
 public:
  /// The module that is added has the next number, which is above that of `parent`.
  void add(ModuleId parent, PooledText component) {
    components_.push_back(std::move(component));
    parents_.push_back(parent);
  }
  void reserve(size_t modules) {
    components_.reserve(modules);
    parents_.reserve(modules);
  }
  size_t capacity() const { return parents_.capacity(); }
  size_t size() const { return parents_.size(); }

  /// kNoId for the model itself.
  ModuleId parent(ModuleId module) const { return parents_[module]; }
  /// "self_attn"; "" for the model itself.
  std::string_view component(ModuleId module) const { return components_[module]; }
  /// "model.layers.0.self_attn"; "" for the model itself.
  std::string name(ModuleId module) const { return name(module, {}); }
  /// "model.layers.0.self_attn.weight", where `component` is "weight".
  std::string name(ModuleId module, std::string_view component) const;
  /// Whether name(module, component) is `name`.
  bool is_name(ModuleId module, std::string_view component, std::string_view name) const;
  bool is_name(ModuleId module, std::string_view name) const { return is_name(module, {}, name); }

 private:
  std::vector<PooledText> components_;
  std::vector<ModuleId> parents_;
};

/// Makes names one after the other, which takes little for those that have their beginning in common with the
/// one before. The modules must outlive it.
class NameMaker {
 public:
  explicit NameMaker(const ModuleNames& names) : names_(names) {}

  /// As ModuleNames::name; the text is valid until the next call.
  const std::string& operator()(ModuleId module, std::string_view component = {});

 private:
  struct Open {
    ModuleId module;
    size_t bytes;  ///< of text_, that are its name
  };

  const ModuleNames& names_;
  std::string text_;
  std::vector<Open> open_;  ///< the module of the last name, from the outermost one that has a name
  std::vector<ModuleId> below_;
};

}  // namespace hfload
