#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/base/name_pattern.h"

namespace hfload {

/// Globs over tensors' names that remember which of them have matched.
class NameGlobs {
 public:
  explicit NameGlobs(std::vector<std::string> globs) : globs_(std::move(globs)), used_(globs_.size()) {}

  bool empty() const { return globs_.empty(); }
  /// Whether any of them matches the name.
  bool match(const std::string& name);
  /// Whether that one matches the name.
  bool match(size_t index, const std::string& name);
  /// Those that have matched no name.
  std::vector<std::string> unused() const;

 private:
  std::vector<std::string> globs_;
  std::vector<bool> used_;
};

/// The rules of --rename, which remember which of them have changed a name.
class Renamer {
 public:
  /// Pairs of an ECMAScript expression and its replacement. Throws Error(usage) for what is no expression.
  explicit Renamer(const std::vector<std::pair<std::string, std::string>>& renames);

  /// The name after all rules, one after the other. Throws Error(usage) for one that is too long to be
  /// matched.
  std::string rename(std::string name);
  /// Expressions that have changed no name.
  std::vector<std::string> unused() const;

 private:
  struct Rule {
    std::string expression;
    NamePattern pattern;
    std::string replacement;
    bool used = false;
  };
  std::vector<Rule> rules_;
};

}  // namespace hfload
