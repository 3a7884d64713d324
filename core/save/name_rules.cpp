#include "core/save/name_rules.h"

#include "core/base/error.h"
#include "core/base/glob.h"

namespace hfload {

bool NameGlobs::match(size_t index, const std::string& name) {
  const bool matches = matches_glob(globs_[index], name);
  if (matches) used_[index] = true;
  return matches;
}

bool NameGlobs::match(const std::string& name) {
  bool matches = false;
  for (size_t i = 0; i < globs_.size(); ++i) {
    if (!matches || !used_[i]) matches = match(i, name) || matches;
  }
  return matches;
}

std::vector<std::string> NameGlobs::unused() const {
  std::vector<std::string> unused;
  for (size_t i = 0; i < globs_.size(); ++i) {
    if (!used_[i]) unused.push_back(globs_[i]);
  }
  return unused;
}

Renamer::Renamer(const std::vector<std::pair<std::string, std::string>>& renames) {
  for (const auto& [expression, replacement] : renames) {
    try {
      rules_.push_back({expression, NamePattern(expression), replacement});
    } catch (const Error& fault) {
      throw Error(ErrorCode::usage, "--rename: " + fault.message())
          .with_hint("It is an ECMAScript expression, and the replacement may hold $1 and $&.");
    }
  }
}

std::string Renamer::rename(std::string name) {
  for (Rule& rule : rules_) {
    if (name.size() > kLongestMatchedName) {
      throw Error(ErrorCode::usage, "a tensor's name is too long for --rename")
          .with_tensor(name.substr(0, kLongestMatchedName))
          .with_hint("Leave the tensor out with --exclude, or do without --rename.");
    }
    std::string renamed = rule.pattern.replace_in(name, rule.replacement);
    rule.used = rule.used || renamed != name;
    name = std::move(renamed);
  }
  return name;
}

std::vector<std::string> Renamer::unused() const {
  std::vector<std::string> unused;
  for (const Rule& rule : rules_) {
    if (!rule.used) unused.push_back(rule.expression);
  }
  return unused;
}

}  // namespace hfload
