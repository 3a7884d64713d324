#include "core/base/packed_names.h"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

namespace hfload {
namespace {

std::vector<std::string> names_of(const PackedNames& list) {
  std::vector<std::string> names;
  list.for_each([&](std::string_view name) { names.emplace_back(name); });
  return names;
}

TEST_CASE("names come back as they were added, whatever they share") {
  std::vector<std::string> many;
  for (int i = 0; i < 20'000; ++i) many.push_back("layers." + std::to_string(i) + ".weight");
  const std::vector<std::vector<std::string>> lists{
      {},
      {""},
      {"", "", "a", "a", ""},
      {"a.b.weight", "a.b.bias", "a.b", "a.b.c", "b"},
      {std::string(127, 'x'), std::string(128, 'x') + "y", std::string(128, 'x') + std::string(127, 'z')},
      {std::string(16383, 'x'), std::string(16384, 'x'), std::string(16385, 'x') + std::string(40000, 'y')},
      {std::string("zero\0inside", 11), "zero", "\xc3\xa9\xff", "\xc3\xa8\xff"},
      many,
  };
  for (const std::vector<std::string>& names : lists) {
    PackedNames list;
    for (const std::string& name : names) list.add(name);
    CHECK(names_of(list) == names);
  }
}

}  // namespace
}  // namespace hfload
