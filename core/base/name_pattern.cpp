#include "core/base/name_pattern.h"

#include <fmt/core.h>

#include <iterator>
#include <regex>

#include "core/base/error.h"

namespace hfload {

struct NamePattern::Expression {
  std::regex regex;
};

NamePattern::NamePattern(const std::string& expression) {
  try {
    expression_ = std::make_unique<const Expression>(Expression{std::regex(expression)});
  } catch (const std::regex_error& fault) {
    throw Error(ErrorCode::usage, fmt::format("'{}' is no regular expression: {}", expression, fault.what()));
  }
}

NamePattern::NamePattern(NamePattern&&) noexcept = default;
NamePattern& NamePattern::operator=(NamePattern&&) noexcept = default;
NamePattern::~NamePattern() = default;

bool NamePattern::is_in(std::string_view name) const {
  return name.size() <= kLongestMatchedName &&
         std::regex_search(name.begin(), name.end(), expression_->regex);
}

std::string NamePattern::replace_in(std::string_view name, const std::string& replacement) const {
  if (name.size() > kLongestMatchedName) return std::string(name);
  std::string replaced;
  std::regex_replace(std::back_inserter(replaced), name.begin(), name.end(), expression_->regex, replacement);
  return replaced;
}

}  // namespace hfload
