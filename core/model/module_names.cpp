#include "core/model/module_names.h"

#include <algorithm>

namespace hfload {
namespace {

/// Takes ".component" off the end of `name`, or `component` where nothing is before it; false where it ends
/// otherwise.
bool take_last(std::string_view& name, std::string_view component, bool is_first) {
  if (!name.ends_with(component)) return false;
  name.remove_suffix(component.size());
  if (is_first) return true;
  if (!name.ends_with('.')) return false;
  name.remove_suffix(1);
  return true;
}

}  // namespace

std::string ModuleNames::name(ModuleId module, std::string_view component) const {
  NameMaker make(*this);
  return make(module, component);
}

bool ModuleNames::is_name(ModuleId module, std::string_view component, std::string_view name) const {
  const auto has_name = [&](ModuleId m) { return m != kNoId && !components_[m].empty(); };
  if (!component.empty() && !take_last(name, component, !has_name(module))) return false;
  for (; has_name(module); module = parents_[module]) {
    if (!take_last(name, components_[module], !has_name(parents_[module]))) return false;
  }
  return name.empty();
}

const std::string& NameMaker::operator()(ModuleId module, std::string_view component) {
  // A module has a greater number than those above it.
  while (module != kNoId && !names_.component(module).empty()) {
    while (!open_.empty() && open_.back().module > module) open_.pop_back();
    if (!open_.empty() && open_.back().module == module) break;
    below_.push_back(module);
    module = names_.parent(module);
  }
  if (module == kNoId || names_.component(module).empty()) open_.clear();
  text_.resize(open_.empty() ? 0 : open_.back().bytes);
  const auto append = [&](std::string_view part) {
    if (!text_.empty()) text_ += '.';
    text_ += part;
  };
  for (; !below_.empty(); below_.pop_back()) {
    append(names_.component(below_.back()));
    open_.push_back({below_.back(), text_.size()});
  }
  if (!component.empty()) append(component);
  return text_;
}

}  // namespace hfload
