#include "core/base/compact_string.h"

#include <catch2/catch.hpp>
#include <optional>
#include <vector>

namespace hfload {
namespace {

std::string text_of(size_t i) {
  return std::string(i % 97, static_cast<char>('a' + i % 26)) + std::to_string(i);
}

TEST_CASE("Texts of a pool outlive it and each other") {
  std::vector<CompactString> texts, copies;
  {
    CompactStringPool pool;
    for (size_t i = 0; i < 5000; ++i) texts.push_back(pool.add(text_of(i)));
    CHECK(pool.add("").view().empty());
    CHECK(pool.add(std::string(100'000, 'x')) == std::string(100'000, 'x'));
  }
  copies.push_back(texts[17]);
  copies.push_back(CompactString(texts[4999].view()));
  const CompactString moved = std::move(texts[18]);
  for (size_t i = 0; i < texts.size(); i += 2) texts[i] = {};
  for (size_t i = 21; i < texts.size(); i += 2) CHECK(texts[i] == text_of(i));
  texts.clear();
  CHECK(copies[0] == text_of(17));
  CHECK(copies[1] == text_of(4999));
  CHECK(moved == text_of(18));
}

TEST_CASE("A text is what it was made of, however it came to be") {
  CompactStringPool pool;
  const std::string nul("a\0b", 3);
  for (const std::string& text : {std::string(), nul, std::string(8180, 'y'), std::string(70'000, 'z')}) {
    const CompactString alone(text), pooled = pool.add(text);
    CHECK(alone == text);
    CHECK(pooled == text);
    CompactString assigned = alone;
    assigned = pooled;
    CHECK(assigned.str() == text);
    CHECK(CompactString(assigned) == text);
  }
}

}  // namespace
}  // namespace hfload
