#include "core/format/torch_state_dict.h"

#include <fmt/core.h>

#include <algorithm>
#include <span>

#include "core/base/join.h"
#include "core/format/json.h"

namespace hfload {
namespace {

// What look_into found in a value.
constexpr unsigned kLookedInto = 1, kHolds = 2, kHoldsNamed = 4;

constexpr std::string_view kModelNames[] = {"state_dict", "model_state_dict", "model", "module"};
constexpr std::string_view kRootKey = ".";

bool is_model_name(std::string_view name) {
  return std::ranges::find(kModelNames, name) != std::end(kModelNames);
}

std::string beside(size_t entries) {
  if (entries == 0) return "nothing is";
  return entries == 1 ? "the entry beside it is" : fmt::format("the {} entries beside it are", entries);
}

}  // namespace

bool StateDictFinder::is_tensor(PickleId id) const {
  if (tree_.kind(id) != PickleKind::object) return false;
  switch (tree_.global(tree_.members(id, 1)[0]).symbol.kind) {
    case GlobalKind::rebuild_tensor:
    case GlobalKind::rebuild_tensor_v2:
    case GlobalKind::rebuild_tensor_v3:
    case GlobalKind::rebuild_parameter:
    case GlobalKind::rebuild_parameter_with_state:
    case GlobalKind::rebuild_from_type:
    case GlobalKind::unsupported_tensor:
      return true;
    default:
      return false;
  }
}

/// Whether a call makes a tensor without dimensions: the size among its arguments is an empty tuple.
bool StateDictFinder::is_scalar(PickleId tensor) const {
  constexpr size_t kSize = 2, kMostArguments = 9;
  const std::vector<PickleId> call = tree_.members(tensor, 2);
  if (call.size() != 2) return false;
  std::vector<PickleId> arguments = tree_.members(call[1], kMostArguments);
  switch (tree_.global(call[0]).symbol.kind) {
    case GlobalKind::rebuild_parameter:
    case GlobalKind::rebuild_parameter_with_state:
      return !arguments.empty() && arguments[0] != tensor && is_tensor(arguments[0]) &&
             is_scalar(arguments[0]);
    case GlobalKind::rebuild_from_type:
      if (arguments.size() <= kSize || tree_.kind(arguments[kSize]) != PickleKind::tuple) return false;
      arguments = tree_.members(arguments[kSize], kMostArguments);
      break;
    case GlobalKind::unsupported_tensor:
      return false;
    default:
      break;
  }
  return arguments.size() > kSize && tree_.kind(arguments[kSize]) == PickleKind::tuple &&
         tree_.members(arguments[kSize], 1).empty();
}

/// Looks into a container once, however often a hostile file names it. Containers nest at most
/// kMaxPickleDepth levels.
unsigned StateDictFinder::look_into(PickleId id) {
  const PickleKind kind = tree_.kind(id);
  if (kind == PickleKind::object) return is_tensor(id) && !is_scalar(id) ? kHolds | kHoldsNamed : 0;
  const bool is_dict = kind == PickleKind::dict;
  if (!is_dict && kind != PickleKind::list && kind != PickleKind::tuple && kind != PickleKind::set) return 0;
  if (found_[id] != 0) return found_[id] & ~kLookedInto;
  unsigned found = 0;
  if (is_dict) {
    visit_entries(tree_, id, [&](PickleId key, PickleId value) {
      const unsigned in_value = look_into(value);
      found |= in_value & (tree_.kind(key) == PickleKind::string ? kHolds | kHoldsNamed : kHolds);
    });
  } else {
    tree_.visit_members(id, [&](PickleId member) { found |= look_into(member) & kHolds; });
  }
  found_[id] = static_cast<uint8_t>(found | kLookedInto);
  return found;
}

bool StateDictFinder::has_named_tensors(PickleId id) {
  return tree_.kind(id) == PickleKind::dict && (look_into(id) & kHoldsNamed) != 0;
}

bool StateDictFinder::has_own_tensors(PickleId dict, bool with_dots) const {
  bool has = false;
  visit_entries(tree_, dict, [&](PickleId key, PickleId value) {
    has = has || (tree_.kind(key) == PickleKind::string && is_tensor(value) && !is_scalar(value) &&
                  (!with_dots || tree_.text(key).find('.') != std::string_view::npos));
  });
  return has;
}

/// The key of the first tensor of a dict that has no dimensions.
std::optional<PickleId> StateDictFinder::first_scalar(PickleId dict) const {
  std::optional<PickleId> first;
  visit_entries(tree_, dict, [&](PickleId key, PickleId value) {
    if (!first && tree_.kind(key) == PickleKind::string && is_tensor(value) && is_scalar(value)) first = key;
  });
  return first;
}

/// The entries of a dict that are no tensors and hold some.
std::vector<StateDictFinder::Entry> StateDictFinder::holders(PickleId dict) {
  std::vector<Entry> entries;
  visit_entries(tree_, dict, [&](PickleId key, PickleId value) {
    if (!is_tensor(value) && (look_into(value) & kHolds) != 0) entries.push_back({key, value});
  });
  return entries;
}

StateDict StateDictFinder::find(std::string_view key) {
  if (!key.empty()) return find_by_key(key);
  const PickleId root = tree_.root();
  const bool is_state_dict = has_own_tensors(root, true);
  std::vector<Entry> models, empty_models;
  visit_entries(tree_, root, [&](PickleId name, PickleId value) {
    if (tree_.kind(name) != PickleKind::string || tree_.kind(value) != PickleKind::dict ||
        !is_model_name(tree_.text(name)))
      return;
    (has_named_tensors(value) ? models : empty_models).push_back({name, value});
  });
  if (models.size() == 1) return inner(models.front().value, tree_.text(models.front().key));
  if (models.size() > 1) throw ambiguous(models);
  if (is_state_dict) return {root, false, {}};
  const std::vector<Entry> holding = holders(root);
  const bool has_own = has_own_tensors(root, false);
  const std::optional<PickleId> scalar = first_scalar(root);
  const bool has_any = has_own || scalar;
  if (std::ranges::any_of(holding, [&](const Entry& e) { return has_named_tensors(e.value); }) ||
      (has_any && !holding.empty()))
    throw ambiguous(holding);
  if (has_any && !empty_models.empty()) {
    throw Error(ErrorCode::unsupported_format,
                fmt::format("the dict '{}' in the file holds no tensors; those beside it are no model",
                            name_of(empty_models.front().key)))
        .with_offset(tree_.offset(empty_models.front().value))
        .with_hint("--key . reads the tensors of the file's own dict.");
  }
  bool has_others = false;
  visit_entries(tree_, root, [&](PickleId, PickleId value) { has_others = has_others || !is_tensor(value); });
  if (scalar && !has_own && has_others) {
    throw Error(ErrorCode::unsupported_format,
                fmt::format("the tensors in the file have no dimensions, '{}' for one, and are no model",
                            name_of(*scalar)))
        .with_offset(tree_.offset(root))
        .with_hint("--key . reads them all the same.");
  }
  return {root, false, {}};
}

StateDict StateDictFinder::find_by_key(std::string_view key) {
  const PickleId root = tree_.root();
  if (key == kRootKey) return {root, true, {}};
  const std::optional<PickleId> dict = resolve(root, key);
  if (dict && has_named_tensors(*dict)) return inner(*dict, key);
  std::vector<Entry> named = holders(root);
  std::erase_if(named, [&](const Entry& e) {
    return tree_.kind(e.key) != PickleKind::string || !has_named_tensors(e.value);
  });
  throw Error(ErrorCode::weights_not_found, fmt::format("the file has no dict of tensors '{}'", key))
      .with_offset(tree_.offset(root))
      .with_hint(named.empty() ? "It has none; do without --key."
                               : fmt::format("It has '{}'.", names_of(named)));
}

/// The dict that a key names. The names in it may have dots of their own.
std::optional<PickleId> StateDictFinder::resolve(PickleId dict, std::string_view key) const {
  std::optional<PickleId> found;
  visit_entries(tree_, dict, [&](PickleId name, PickleId value) {
    if (found || tree_.kind(name) != PickleKind::string || tree_.kind(value) != PickleKind::dict) return;
    const std::string_view text = tree_.text(name);
    if (text == key) {
      found = value;
    } else if (key.size() > text.size() && key.starts_with(text) && key[text.size()] == '.') {
      found = resolve(value, key.substr(text.size() + 1));
    }
  });
  return found;
}

/// A dict within the file's own, by its name.
StateDict StateDictFinder::inner(PickleId dict, std::string_view name) {
  size_t others = 0;
  bool is_direct = false;
  std::vector<Entry> with_tensors;
  visit_entries(tree_, tree_.root(), [&](PickleId key, PickleId value) {
    if (value == dict && tree_.kind(key) == PickleKind::string && tree_.text(key) == name) {
      is_direct = true;
      return;
    }
    ++others;
    if (is_tensor(value) || (look_into(value) & kHolds) != 0) with_tensors.push_back({key, value});
  });
  std::string note =
      fmt::format("the tensors are those of the dict '{}' in the file; {} left out", json::shorten(name),
                  is_direct ? beside(others) : "what stands beside it is");
  if (is_direct && !with_tensors.empty()) {
    note +=
        fmt::format(", and with {} the tensors of '{}'", others == 1 ? "it" : "them", names_of(with_tensors));
  }
  return {dict, true, {std::move(note)}};
}

Error StateDictFinder::ambiguous(const std::vector<Entry>& holding) {
  const PickleId root = tree_.root();
  std::vector<Entry> named;
  for (const Entry& entry : holding) {
    if (tree_.kind(entry.key) == PickleKind::string && has_named_tensors(entry.value)) named.push_back(entry);
  }
  const bool has_own = has_own_tensors(root, false) || first_scalar(root);
  std::string where, hint;
  if (named.empty()) {
    where = fmt::format("beside '{}', which has tensors without names", names_of(holding));
    hint = "--key . reads the tensors of the file's own dict.";
  } else {
    where = fmt::format("in the dict{} '{}'{}", named.size() == 1 ? "" : "s", names_of(named),
                        has_own ? " and in the file's own dict" : "");
    hint = fmt::format("Name one: --key {}{}", name_of(named.front().key),
                       has_own ? ", or --key . for all that the file names." : "");
  }
  return Error(ErrorCode::unsupported_format,
               fmt::format("the file's tensors are {}, and nothing says which is the model", where))
      .with_offset(tree_.offset(root))
      .with_hint(hint);
}

std::string StateDictFinder::name_of(PickleId key) const {
  return tree_.kind(key) == PickleKind::string ? json::shorten(tree_.text(key)) : "?";
}

std::string StateDictFinder::names_of(const std::vector<Entry>& entries) const {
  constexpr size_t kMost = 8;
  std::vector<std::string> names;
  for (const Entry& entry : std::span(entries).first(std::min(kMost, entries.size())))
    names.push_back(name_of(entry.key));
  return join(names, "' and '");
}

}  // namespace hfload
