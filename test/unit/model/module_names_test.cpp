#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "core/model/module_tree.h"

namespace hfload {
namespace {

/// A tree in depth-first order, and the names of its modules put together one by one.
struct NamedTree {
  ModuleTree tree;
  std::vector<std::string> names;
  std::vector<ModuleId> parents;

  void grow(ModuleId parent, std::string prefix, unsigned depth, std::mt19937& random) {
    const unsigned children = depth == 0 ? 0 : random() % 4;
    for (unsigned i = 0; i < children; ++i) {
      const std::string component = i % 2 == 0 ? std::to_string(i * 9) : "layer_" + std::to_string(i);
      const ModuleId id = tree.add_module(parent, component, "Module");
      names.push_back(prefix.empty() ? component : prefix + "." + component);
      parents.push_back(parent);
      grow(id, names[id], depth - 1, random);
    }
  }
};

NamedTree random_tree(uint32_t seed) {
  std::mt19937 random(seed);
  NamedTree made;
  made.tree.add_module(kNoId, "", "Model");
  made.names.emplace_back();
  made.parents.push_back(kNoId);
  made.grow(0, "", 5, random);
  return made;
}

TEST_CASE("modules have the names of those above them before their own", "[model]") {
  size_t modules = 0;
  for (uint32_t seed = 0; seed < 100; ++seed) {
    const NamedTree made = random_tree(seed);
    const ModuleTree& tree = made.tree;
    REQUIRE(tree.names.size() == made.names.size());
    const ModuleIndex index(tree);
    for (ModuleId m = 0; m < made.names.size(); ++m) {
      const std::string& name = made.names[m];
      CHECK(tree.module_name(m) == name);
      CHECK(tree.names.parent(m) == made.parents[m]);
      CHECK(tree.names.name(m, "weight") == (name.empty() ? "weight" : name + ".weight"));
      CHECK(index.find(name) == m);
      CHECK(index.find(name + ".") == kNoId);
      CHECK(index.find("." + name) == kNoId);
      const auto is_below = [&](const std::string& other) { return other.starts_with(name + "."); };
      const auto below = m == 0 ? made.names.size() - 1 : std::ranges::count_if(made.names, is_below);
      CHECK(tree.end_of(m) == m + 1 + below);
    }
    modules += made.names.size();
  }
  CHECK(modules > 1000);
}

TEST_CASE("names are made in any order", "[model]") {
  std::mt19937 random(3);
  const NamedTree made = random_tree(5);
  REQUIRE(made.names.size() > 20);
  NameMaker make(made.tree.names);
  for (int i = 0; i < 5000; ++i) {
    const auto m = static_cast<ModuleId>(random() % made.names.size());
    const std::string& name = made.names[m];
    if (random() % 2 == 0) {
      REQUIRE(make(m) == name);
    } else {
      REQUIRE(make(m, "weight.absmax") == (name.empty() ? "" : name + ".") + "weight.absmax");
    }
    if (random() % 8 == 0) REQUIRE(make(kNoId, "alone") == "alone");
  }
}

TEST_CASE("a name is told from those that are nearly the same", "[model]") {
  ModuleTree tree;
  tree.add_module(kNoId, "", "Model");
  const ModuleId a = tree.add_module(0, "a", "Module"), b = tree.add_module(a, "b", "Module");
  CHECK(tree.names.is_name(b, "weight", "a.b.weight"));
  CHECK(tree.names.is_name(0, "weight", "weight"));
  CHECK(tree.names.is_name(0, ""));
  CHECK(tree.names.is_name(kNoId, "a.weight", "a.weight"));
  for (const char* other :
       {"", ".", "a", "a.b", "b.weight", "a.b.weights", "a.b.eight", "aab.weight", "a.bweight",
        "x.a.b.weight", ".a.b.weight", "a..b.weight", "a.b..weight", "A.b.weight"})
    CHECK(!tree.names.is_name(b, "weight", other));
  for (const char* other : {".weight", "a.weight", "", "weigh"})
    CHECK(!tree.names.is_name(0, "weight", other));
}

TEST_CASE("tensors are found by all of their names", "[model]") {
  ModuleTree tree;
  tree.add_module(kNoId, "", "Model");
  const ModuleId layer = tree.add_module(tree.add_module(0, "layers", "ModuleList"), "10", "Layer");
  // The last has the name of the third.
  const std::pair<ModuleId, const char*> tensors[] = {{layer, "weight"},      {layer, "bias"},
                                                      {0, "layers.10.scale"}, {0, ""},
                                                      {kNoId, "weight"},      {layer, "scale"}};
  for (const auto& [module, name] : tensors) {
    ShellTensor& tensor = tree.tensors.emplace_back();
    tensor.module = module;
    tensor.name = name;
  }
  const TensorIndex index(tree);
  CHECK(index.find("layers.10.weight") == 0);
  CHECK(index.find("layers.10.bias") == 1);
  CHECK(index.find("layers.10.scale") == 2);
  CHECK(index.find("") == 3);
  CHECK(index.find("weight") == 4);
  CHECK(index.find("10.weight") == kNoId);
  CHECK(index.find("layers.10") == kNoId);
}

}  // namespace
}  // namespace hfload
