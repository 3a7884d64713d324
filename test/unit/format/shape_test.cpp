#include <array>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "core/format/shape.h"

namespace hfload {
namespace {

using Dimensions = std::vector<uint64_t>;

TEST_CASE("A shape is the vector that it was made of", "[format]") {
  static_assert(sizeof(Shape) == 8);
  for (const Dimensions& dimensions :
       {Dimensions{}, Dimensions{0}, Dimensions{7}, Dimensions{2, 3}, Dimensions{UINT64_MAX, 0, 1, 2, 3}}) {
    Shape shape = dimensions;
    CHECK(Dimensions(shape) == dimensions);
    CHECK(shape.size() == dimensions.size());
    CHECK(shape.empty() == dimensions.empty());
    for (size_t i = 0; i < dimensions.size(); ++i) CHECK(shape[i] == dimensions[i]);
    Shape copy = shape;
    CHECK(copy == shape);
    shape = Shape{5, 6};
    CHECK(copy == dimensions);
    shape = std::move(copy);
    CHECK(shape == dimensions);
    const Shape& same = shape;
    shape = same;
    CHECK(shape == dimensions);
    CHECK(shape != Shape{1, 2});
  }
}

TEST_CASE("Equal shapes that come one after the other share their dimensions, others do not", "[format]") {
  ShapeMaker make;
  std::vector<std::pair<Shape, Dimensions>> made;
  for (uint64_t i = 0; i < 1000; ++i) {
    for (const Dimensions& dimensions : {Dimensions{4096, i}, Dimensions{i, 4096}, Dimensions{i}}) {
      const Shape shape = make(dimensions);
      CHECK(make(dimensions).data() == shape.data());
      made.emplace_back(shape, dimensions);
    }
    made.emplace_back(make({}), Dimensions{});
  }
  for (const auto& [shape, dimensions] : made) REQUIRE(shape == dimensions);
}

TEST_CASE("Threads may copy one shape at a time", "[format]") {
  const Shape shape{3, 4, 5};
  std::array<std::thread, 4> threads;
  for (std::thread& thread : threads) {
    thread = std::thread([shape] {
      for (int i = 0; i < 2000; ++i) {
        const std::vector<Shape> copies(10, shape);
        if (copies.back()[2] != 5) std::abort();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(shape == Dimensions{3, 4, 5});
}

}  // namespace
}  // namespace hfload
