#include "core/model/subset.h"

#include <fmt/core.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/base/glob.h"

namespace hfload {
namespace {

bool matches_any(const std::vector<std::string>& patterns, const std::string& name) {
  return std::ranges::any_of(patterns, [&](const std::string& glob) { return matches_glob(glob, name); });
}

/// A name that the pattern may have meant: one that it matches once parts before it are put on or taken off.
std::string nearest_name(const ModuleTree& tree, std::string_view pattern) {
  for (;;) {
    const std::string glob = fmt::format("*{}", pattern);
    NameMaker make_name(tree.names);
    for (const ShellTensor& tensor : tree.tensors) {
      const std::string& name = make_name(tensor.module, tensor.name);
      if (tensor.persistent && matches_glob(glob, name)) return name;
    }
    const size_t dot = pattern.find('.');
    if (dot == std::string_view::npos) return {};
    pattern.remove_prefix(dot + 1);
  }
}

void require_matches(const ModuleTree& tree, const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns) {
    NameMaker make_name(tree.names);
    const auto is_meant = [&](const ShellTensor& t) {
      return t.persistent && matches_glob(pattern, make_name(t.module, t.name));
    };
    if (std::ranges::any_of(tree.tensors, is_meant)) continue;
    const std::string near = nearest_name(tree, pattern);
    throw Error(ErrorCode::empty_subset,
                fmt::format("--subset '{}' matches no tensor that checkpoints of this model hold", pattern))
        .with_hint(
            fmt::format("Patterns match the model's names{}{}, which may differ from the checkpoint's. "
                        "hfload inspect --tree shows them; * also matches dots.",
                        near.empty() ? "" : ", such as ", near));
  }
}

}  // namespace

SubsetSkips select_subset(KeyMatches& keys, const ModuleTree& tree, const Checkpoint& checkpoint,
                          const std::vector<std::string>& patterns) {
  require_matches(tree, patterns);
  std::vector<bool> wanted(tree.tensors.size(), false);  // by object
  NameMaker make_name(tree.names);
  for (const ShellTensor& tensor : tree.tensors) {
    if (matches_any(patterns, make_name(tensor.module, tensor.name))) wanted[tensor.object] = true;
  }
  SubsetSkips skips;
  std::erase_if(keys.matches, [&](const KeyMatch& match) {
    if (wanted[match.shell]) return false;
    ++skips.tensors;
    skips.bytes += checkpoint.tensors.at(match.checkpoint).bytes();
    return true;
  });
  const auto is_other = [&](const std::string& name) { return !matches_any(patterns, name); };
  std::erase_if(keys.missing_keys, is_other);
  std::erase_if(keys.unexpected_keys, is_other);
  std::erase_if(keys.mismatched_keys, [&](const MismatchedKey& key) { return is_other(key.name); });
  return skips;
}

}  // namespace hfload
