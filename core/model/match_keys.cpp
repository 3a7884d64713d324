#include "core/model/match_keys.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "core/base/error.h"
#include "core/base/name_hash.h"
#include "core/base/name_pattern.h"

namespace hfload {
namespace {

/// The modern spelling of a legacy parameter name (transformers 4.57, `_fix_state_dict_key_on_load`); nothing
/// for a name that is no legacy one.
std::optional<std::string> modern_name(std::string_view name) {
  static constexpr std::pair<std::string_view, std::string_view> kRenames[] = {
      {"LayerNorm.beta", "LayerNorm.bias"},
      {"LayerNorm.gamma", "LayerNorm.weight"},
      {"weight_g", "parametrizations.weight.original0"},
      {"weight_v", "parametrizations.weight.original1"},
  };
  for (const auto& [legacy, modern] : kRenames) {
    if (!name.ends_with(legacy)) continue;
    // Python's str.replace takes every occurrence, not just the one at the end.
    std::string renamed;
    size_t begin = 0;
    for (size_t at = name.find(legacy); at != std::string_view::npos; at = name.find(legacy, begin)) {
      renamed.append(name.substr(begin, at - begin)).append(modern);
      begin = at + legacy.size();
    }
    return renamed.append(name.substr(begin));
  }
  return std::nullopt;
}

bool matches_any(std::string_view name, const std::vector<NamePattern>& patterns) {
  return std::ranges::any_of(patterns, [&](const NamePattern& pattern) { return pattern.is_in(name); });
}

std::vector<NamePattern> compile(const std::vector<std::string>& patterns) {
  return {patterns.begin(), patterns.end()};
}

/// How the checkpoint's names relate to the model's by the base model's prefix.
enum class Prefix : uint8_t { same, add, strip };

class Matcher {
 public:
  Matcher(const ModuleTree& tree, const Checkpoint& checkpoint)
      : tree_(tree), checkpoint_(checkpoint), by_name_(tree) {
    prefix_dot_ = tree.base_model_prefix + ".";
    for (const auto& [pattern, replacement] : tree.key_renames) renames_.emplace_back(pattern, replacement);
    prefix_ = find_prefix();
  }

  KeyMatches run() {
    map_names();
    assign();
    find_missing();
    find_unexpected();
    return std::move(result_);
  }

 private:
  Prefix find_prefix() const {
    const std::string& prefix = tree_.base_model_prefix;
    if (prefix.empty()) return Prefix::same;
    const bool has = std::ranges::any_of(
        checkpoint_.tensors, [&](const CheckpointTensor& t) { return t.name.view().starts_with(prefix); });
    bool expects = false;
    for (ModuleId m = 0; m < tree_.names.size() && !expects; ++m) expects = tree_.names.is_name(m, prefix);
    if (has == expects) return Prefix::same;
    return expects ? Prefix::add : Prefix::strip;
  }

  /// kNoId where there is none of that name. Checkpoints name many tensors in the order of the model.
  TensorId tensor(std::string_view name) const {
    const TensorId next = after_last_found_;
    const bool is_next = next < tree_.tensors.size() && tree_.has_name(tree_.tensors[next], name);
    const TensorId id = is_next ? next : by_name_.find(name);
    if (id != kNoId) after_last_found_ = id + 1;
    return id;
  }

  /// The shell tensor that a state dict of the model would list under this name; kNoId for none.
  TensorId expected(std::string_view name) const {
    const TensorId id = tensor(name);
    return id != kNoId && (!tree_.tensors[id].is_buffer || tree_.tensors[id].persistent) ? id : kNoId;
  }

  /// The modern spelling, and then the class's own renaming (transformers 4.57, `_get_key_renaming_mapping`):
  /// the first pattern that matches. Nothing for a name that stays.
  std::optional<std::string> renamed(std::string_view name) const {
    // A tree that was made of the checkpoint's names has these names.
    if (tree_.from_tensor_names) return std::nullopt;
    std::optional<std::string> modern = modern_name(name);
    if (modern) name = *modern;
    for (const auto& [pattern, replacement] : renames_) {
      if (pattern.is_in(name)) return pattern.replace_in(name, replacement);
    }
    return modern;
  }

  void map_names() {
    std::vector<std::string_view>& mapped = result_.shell_names;
    mapped.resize(checkpoint_.tensors.size());
    ids_.resize(mapped.size(), kNoId);
    for (size_t i = 0; i < mapped.size(); ++i) {
      const std::string_view original = checkpoint_.tensors[i].name;
      std::string_view name = original;
      const std::optional<std::string> other = renamed(original);
      if (other && *other != original) {
        name = *other;
        result_.renamed_keys.emplace_back(original, name);
      }
      if (prefix_ == Prefix::add) {
        std::string prefixed = prefix_dot_ + std::string(name);
        if (expected(name) != kNoId && !name.starts_with(prefix_dot_) && expected(prefixed) == kNoId) {
          throw Error(ErrorCode::corrupted_state_dict,
                      fmt::format("the checkpoint is of a base model, whose names lack '{}', but this tensor "
                                  "belongs to the task's "
                                  "head",
                                  prefix_dot_))
              .with_tensor(std::string(original))
              .with_hint(
                  "The checkpoint mixes two naming schemes; save it again from the model it came from.");
        }
        mapped[i] = result_.made_names->add(prefixed);
      } else {
        if (prefix_ == Prefix::strip) {
          if (!name.starts_with(prefix_dot_)) continue;
          name.remove_prefix(prefix_dot_.size());
        }
        const bool is_made = other && *other != original;
        mapped[i] = is_made ? result_.made_names->add(name) : name;
      }
      ids_[i] = expected(mapped[i]);
    }
  }

  void assign() {
    // A tied tensor that was saved under each of its names is loaded from its first place, as tying again
    // after the load makes Python do.
    constexpr uint32_t kNone = UINT32_MAX;
    std::vector<uint32_t> source(tree_.tensors.size(), kNone);  // by object: into Checkpoint::tensors
    present_.resize(tree_.tensors.size());
    for (uint32_t i = 0; i < ids_.size(); ++i) {
      const TensorId id = ids_[i];
      if (id == kNoId) continue;
      present_[id] = true;
      const CheckpointTensor& tensor = checkpoint_.tensors[i];
      if (tensor.described && tensor.shape != tree_.tensors[id].shape && !tree_.estimated_bytes) {
        result_.mismatched_keys.push_back(
            {std::string(result_.shell_names[i]), tensor.shape, tree_.tensors[id].shape});
        continue;
      }
      const TensorId object = tree_.tensors[id].object;
      if (source[object] == kNone || id == object) source[object] = i;
    }
    const auto is_source = [&](uint32_t i) {
      return ids_[i] != kNoId && source[tree_.tensors[ids_[i]].object] == i;
    };
    size_t matches = 0;
    for (uint32_t i = 0; i < ids_.size(); ++i) matches += is_source(i);
    result_.matches.reserve(matches);
    for (uint32_t i = 0; i < ids_.size(); ++i) {
      if (is_source(i)) result_.matches.push_back({tree_.tensors[ids_[i]].object, i});
    }
    std::ranges::sort(result_.mismatched_keys, {}, &MismatchedKey::name);
  }

  void find_missing() {
    const std::vector<NamePattern> ignored = compile(tree_.ignore_missing);
    std::vector<bool> objects_present(tree_.tensors.size());
    for (TensorId id = 0; id < tree_.tensors.size(); ++id) {
      if (present_[id]) objects_present[tree_.tensors[id].object] = true;
    }
    for (TensorId id = 0; id < tree_.tensors.size(); ++id) {
      const ShellTensor& t = tree_.tensors[id];
      if (present_[id] || (t.is_buffer && !t.persistent)) continue;
      // One member of a tied group is enough; a buffer is never tied.
      if (!t.is_buffer && objects_present[t.object]) continue;
      std::string name = tree_.tensor_name(t);
      if (tensor(name) == id && !matches_any(name, ignored)) result_.missing_keys.push_back(std::move(name));
    }
    std::ranges::sort(result_.missing_keys);
  }

  void find_unexpected() {
    std::vector<std::string> patterns = tree_.ignore_unexpected;
    const bool has_inv_freq = std::ranges::any_of(tree_.tensors, [&](const ShellTensor& t) {
      return t.is_buffer && t.name == "inv_freq" && t.module != kNoId &&
             tree_.names.component(t.module).ends_with("rotary_emb");
    });
    if (has_inv_freq) patterns.emplace_back("rotary_emb\\.inv_freq");
    const std::vector<NamePattern> ignored = compile(patterns);

    std::vector<std::string>& unexpected = result_.unexpected_keys;
    for (uint32_t i = 0; i < ids_.size(); ++i) {
      // Python compares the names of the index, and so never sees these.
      if (checkpoint_.tensors[i].unindexed) continue;
      const std::string_view original = checkpoint_.tensors[i].name;
      // Taking the prefix off leaves the head's tensors, unexpected under their own names, also where the
      // base model has a tensor of that name.
      if (prefix_ == Prefix::strip && !original.starts_with(prefix_dot_)) {
        if (!is_buffer(original) && !matches_any(original, ignored)) unexpected.emplace_back(original);
        continue;
      }
      const std::string_view name = result_.shell_names[i];
      if (ids_[i] != kNoId || is_buffer(name) || matches_any(name, ignored)) continue;
      unexpected.emplace_back(prefix_ == Prefix::add ? name.substr(prefix_dot_.size()) : name);
    }
    std::ranges::sort(unexpected);
    unexpected.erase(std::unique(unexpected.begin(), unexpected.end()), unexpected.end());
  }

  bool is_buffer(std::string_view name) const {
    const TensorId id = tensor(name);
    return id != kNoId && tree_.tensors[id].is_buffer;
  }

  const ModuleTree& tree_;
  const Checkpoint& checkpoint_;
  TensorIndex by_name_;
  mutable TensorId after_last_found_ = 0;  ///< where `tensor` looks first
  std::string prefix_dot_;
  Prefix prefix_ = Prefix::same;
  std::vector<std::pair<NamePattern, std::string>> renames_;
  std::vector<TensorId> ids_;  ///< by checkpoint tensor: the model's tensor of its name; kNoId for none
  std::vector<bool> present_;  ///< by TensorId: the checkpoint has a tensor of its name
  KeyMatches result_;
};

}  // namespace

KeyMatches match_keys(const ModuleTree& tree, const Checkpoint& checkpoint) {
  return Matcher(tree, checkpoint).run();
}

std::vector<std::string> untie_saved_parameters(ModuleTree& tree, const Checkpoint& checkpoint) {
  std::vector<std::string> untied;
  if (tree.compat != Compat::v5 || tree.from_tensor_names) return untied;
  const KeyMatches keys = match_keys(tree, checkpoint);
  NameMap<uint32_t> saved;
  for (uint32_t i = 0; i < keys.shell_names.size(); ++i) saved.emplace(keys.shell_names[i], i);
  // Views of one storage are equal, so that transformers ties them again.
  const auto first_of = [&](uint32_t i) { return checkpoint.tensors[i].first_tied(i); };
  for (TensorId i = 0; i < tree.tensors.size(); ++i) {
    ShellTensor& t = tree.tensors[i];
    if (t.object == i) continue;
    const std::string name = tree.tensor_name(t);
    const auto own = saved.find(name), other = saved.find(tree.tensor_name(t.object));
    if (own == saved.end() || other == saved.end() || first_of(own->second) == first_of(other->second))
      continue;
    t.object = i;
    untied.push_back(name);
  }
  return untied;
}

}  // namespace hfload
