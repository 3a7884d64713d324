#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.h"
#include "core/format/pickle.h"

namespace hfload {

/// The dict of a pickle that is the model's state dict.
struct StateDict {
  PickleId dict = 0;
  /// Dicts in it are read too, their names joined to it by dots: "encoder" and "weight" are "encoder.weight".
  bool reads_nested = false;
  std::vector<std::string> notes;  ///< what is left out beside it, one sentence each
};

/// Finds the state dict in what torch.save wrote, by the rules of docs/formats.md.
class StateDictFinder {
 public:
  /// The tree must outlive it.
  explicit StateDictFinder(const PickleTree& tree) : tree_(tree), found_(tree.size(), 0) {}

  /// Whether the value is a call that makes a tensor, of whatever kind.
  bool is_tensor(PickleId id) const;
  /// Whether the value is a dict in which names lead to a tensor of one or more dimensions, at any depth.
  /// Those without dimensions are losses, steps and decays as a rule, and no model has them alone.
  bool has_named_tensors(PickleId id);

  /// The root is a dict. `key` is the name of a dict in it, the names of dicts in one another with dots
  /// between them, or "." for the root itself; empty: the dict that trainers save a model under, or the root.
  /// Throws Error(unsupported_format) where nothing says which dict is the model, Error(weights_not_found)
  /// for a key that names no dict with tensors.
  StateDict find(std::string_view key);

 private:
  struct Entry {
    PickleId key = 0, value = 0;
  };

  bool is_scalar(PickleId tensor) const;
  std::optional<PickleId> first_scalar(PickleId dict) const;
  unsigned look_into(PickleId id);
  StateDict find_by_key(std::string_view key);
  std::optional<PickleId> resolve(PickleId dict, std::string_view key) const;
  bool has_own_tensors(PickleId dict, bool with_dots) const;
  std::vector<Entry> holders(PickleId dict);
  StateDict inner(PickleId dict, std::string_view name);
  Error ambiguous(const std::vector<Entry>& holding);
  std::string name_of(PickleId key) const;
  std::string names_of(const std::vector<Entry>& entries) const;

  const PickleTree& tree_;
  std::vector<uint8_t> found_;  ///< by value: what look_into found
};

/// Calls `visit(key, value)` for the entries of a dict, in their order.
template <class Visit>
void visit_entries(const PickleTree& tree, PickleId dict, Visit&& visit) {
  PickleId key = 0;
  bool is_value = false;
  tree.visit_members(dict, [&](PickleId member) {
    if (is_value) visit(key, member);
    key = member;
    is_value = !is_value;
  });
}

}  // namespace hfload
