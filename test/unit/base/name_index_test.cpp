#include "core/base/name_index.h"

#include <catch2/catch.hpp>
#include <string>
#include <unordered_map>

namespace hfload {
namespace {

TEST_CASE("An index of names finds what a map finds") {
  std::vector<std::string> names = {""};
  // Names that differ in one byte at every place, at every length up to some words.
  for (size_t length = 1; length < 50; ++length) {
    for (size_t at = 0; at < length; ++at) {
      names.emplace_back(length, 'n');
      names.back()[at] = 'm';
      names.push_back(names.back());
    }
  }
  const auto name_at = [&](uint32_t i) -> std::string_view { return names[i]; };
  NameIndex index(names.size());
  std::unordered_map<std::string, uint32_t> map;
  for (uint32_t i = 0; i < names.size(); ++i)
    REQUIRE(index.insert(names[i], i, name_at) == map.emplace(names[i], i).second);
  for (const std::string& name : names) REQUIRE(index.find(name, name_at) == map.at(name));
  CHECK_FALSE(index.find("n", name_at));
  CHECK_FALSE(index.find(std::string(64, 'n'), name_at));
  CHECK_FALSE(NameIndex().find("m", name_at));
}

}  // namespace
}  // namespace hfload
