#include "core/base/name_pattern.h"

#include <catch2/catch.hpp>
#include <string>

#include "core/base/error.h"

namespace hfload {
namespace {

TEST_CASE("an expression matches any part of a name, and all such parts are replaced") {
  const NamePattern digits("([a-z]+)\\.(\\d+)");
  CHECK(digits.is_in("model.layers.10.weight"));
  CHECK_FALSE(digits.is_in("model.norm.weight"));
  CHECK(digits.replace_in("a.1.b.22.c", "$2<$1>") == "1<a>.22<b>.c");
  CHECK(digits.replace_in("a.1.b", "[$&]") == "[a.1].b");
  CHECK(digits.replace_in("model.norm", "x") == "model.norm");
  CHECK(NamePattern("^").replace_in("", "x") == "x");
}

TEST_CASE("a name that is too long for the library's matcher matches nothing") {
  const NamePattern all(".*");
  const std::string longest(kLongestMatchedName, 'x'), longer = longest + 'x';
  CHECK(all.is_in(longest));
  CHECK_FALSE(all.is_in(longer));
  CHECK(all.replace_in(longer, "y") == longer);
}

TEST_CASE("what is no expression is refused with the expression") {
  for (const char* wrong : {"(", "[a", "*", "a{2,1}", "\\"}) {
    try {
      NamePattern pattern(wrong);
      FAIL_CHECK(wrong);
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::usage);
      CHECK(error.message().find('\'' + std::string(wrong) + '\'') != std::string::npos);
    }
  }
}

}  // namespace
}  // namespace hfload
