#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

#include "core/base/id_list.h"
#include "core/base/name_table.h"
#include "core/base/text_pool.h"

namespace hfload {
namespace {

std::vector<uint32_t> numbers(const IdList& list) { return {list.begin(), list.end()}; }

TEST_CASE("A list of ids holds what was added to it", "[base]") {
  IdList list;
  std::vector<uint32_t> expected;
  CHECK(list.empty());
  for (uint32_t i = 0; i < 100; ++i) {
    // UINT32_MAX marks a list of one.
    const uint32_t id = i % 7 == 0 ? UINT32_MAX : i * 2654435761U;
    list.push_back(id);
    expected.push_back(id);
    REQUIRE(list.size() == expected.size());
    REQUIRE(numbers(list) == expected);
    REQUIRE(std::vector<uint32_t>(list.rbegin(), list.rend()) ==
            std::vector<uint32_t>(expected.rbegin(), expected.rend()));
    IdList copy(list);
    IdList moved(std::move(copy));
    REQUIRE(numbers(moved) == expected);
    copy = moved;
    REQUIRE(numbers(copy) == expected);
  }
}

TEST_CASE("Ids are taken off a list", "[base]") {
  for (const std::vector<uint32_t>& ids :
       std::vector<std::vector<uint32_t>>{{5}, {5, 6}, {6, 5}, {1, 2, 5, 3, 4}}) {
    IdList list;
    for (const uint32_t id : ids) list.push_back(id);
    list.remove(5);
    std::vector<uint32_t> rest = ids;
    std::erase(rest, 5U);
    CHECK(numbers(list) == rest);
    list.remove(7);
    CHECK(numbers(list) == rest);
    list.push_back(9);
    CHECK(list[rest.size()] == 9);
  }
  CHECK(numbers({3, 1, 2}) == std::vector<uint32_t>{3, 1, 2});
}

TEST_CASE("Texts of a pool stay, also those that come again", "[base]") {
  TextPool pool;
  std::vector<std::pair<std::string_view, std::string>> made;
  std::set<const char*> places;
  for (int i = 0; i < 3000; ++i) {
    const std::string layer = "layer" + std::to_string(i);
    made.emplace_back(pool.add(layer), layer);
    made.emplace_back(pool.add_once(layer), layer);
    CHECK(made.back().first.data() != made.end()[-2].first.data());
    CHECK(pool.add_once(layer).data() == made.back().first.data());
    for (const char* again : {"weight", "bias", "gate_proj"}) {
      made.emplace_back(pool.add_once(again), again);
      places.insert(made.back().first.data());
    }
  }
  CHECK(places.size() == 3);  // between two of each come three others at most
  const std::string huge(1 << 20, 'x');
  made.emplace_back(pool.add(huge), huge);
  made.emplace_back(pool.add_once(huge), huge);
  made.emplace_back(pool.add(""), "");
  made.emplace_back(pool.add_once(""), "");
  for (const auto& [text, expected] : made) REQUIRE(text == expected);
}

TEST_CASE("A pooled text is of its pool or its own", "[base]") {
  TextPool pool;
  const std::string_view text = pool.add("name");
  PooledText own(std::string("own")), pooled = PooledText::of_pool(text);
  CHECK(pooled.view().data() == text.data());
  PooledText copy = pooled;
  CHECK(copy.view().data() == text.data());
  copy = own;
  CHECK(copy == "own");
  CHECK(copy.view().data() != own.view().data());
  own = PooledText("other");
  CHECK(own == std::string("other"));
  CHECK(copy == std::string_view("own"));
  const std::string as_string = copy;
  CHECK(as_string == "own");
  CHECK(PooledText().empty());
  CHECK(PooledText("") == PooledText());
}

TEST_CASE("A pooled text is as long as it was made", "[base]") {
  static_assert(sizeof(PooledText) == 8);
  TextPool pool;
  // Around the longest text whose length lies beside its address.
  for (const size_t bytes :
       {size_t{1}, size_t{32766}, size_t{32767}, size_t{32768}, size_t{65536}, size_t{1} << 20}) {
    const std::string text(bytes, 'n');
    const std::string_view kept = pool.add(text);
    const PooledText pooled = PooledText::of_pool(kept), own(text);
    CHECK(pooled.view().data() == kept.data());
    CHECK(pooled == text);
    CHECK(own == text);
    PooledText copy = pooled, other = own;
    CHECK(copy.view().data() == kept.data());
    CHECK(other == text);
    CHECK(other.view().data() != own.view().data());
    other = std::move(copy);
    CHECK(other.view().data() == kept.data());
    copy = own;
    CHECK(copy == text);
  }
}

TEST_CASE("A table of names finds the first number of a name", "[base]") {
  std::vector<std::string> names;
  for (int i = 0; i < 5000; ++i) names.push_back("tensor" + std::to_string(i % 4000));
  const auto name_of = [&](uint32_t i) -> std::string_view { return names[i]; };
  for (const size_t expected : {size_t{0}, size_t{10}, names.size()}) {
    NameTable table(expected);
    CHECK(table.find("tensor0", name_of) == NameTable::kNone);
    for (uint32_t i = 0; i < names.size(); ++i) table.insert(i, name_of);
    for (uint32_t i = 0; i < 4000; ++i) REQUIRE(table.find(names[i], name_of) == i);
    CHECK(table.find("tensor4000", name_of) == NameTable::kNone);
    CHECK(table.find("", name_of) == NameTable::kNone);
  }
}

}  // namespace
}  // namespace hfload
