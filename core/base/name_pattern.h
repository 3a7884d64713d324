#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace hfload {

/// Bytes of a name that are still matched against a regular expression: the standard library's matcher
/// recurses for every character. A longer one matches none.
inline constexpr size_t kLongestMatchedName = 2000;

/// A regular expression for tensors' names, of the ECMAScript grammar of std::regex, whose header is what
/// takes longest to compile of all: it is included here alone.
class NamePattern {
 public:
  /// Throws Error(usage) that says what is wrong with `expression`.
  explicit NamePattern(const std::string& expression);
  NamePattern(NamePattern&&) noexcept;
  NamePattern& operator=(NamePattern&&) noexcept;
  ~NamePattern();

  /// Whether a part of the name matches.
  bool is_in(std::string_view name) const;
  /// The name with all parts that match replaced; in `replacement` $1 and $& stand for what was matched.
  std::string replace_in(std::string_view name, const std::string& replacement) const;

 private:
  struct Expression;
  std::unique_ptr<const Expression> expression_;
};

}  // namespace hfload
