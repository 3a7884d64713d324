#include "core/base/file_holes.h"

#include <unistd.h>

#include <catch2/catch.hpp>

#include "test/support/temp_directory.h"

namespace hfload {

TEST_CASE("holes of a file are found where its file system tells of them", "[base]") {
  constexpr uint64_t kBlock = 1 << 16;
  const test::TempDirectory root;
  const std::string data(kBlock, 'x');
  const std::string path = root.write("sparse", data);
  REQUIRE(truncate(path.c_str(), 4 * kBlock) == 0);
  {
    const RegularFile file = open_regular_file(path);
    const std::vector<FileHole> holes = find_holes(file, kBlock, 10);
    if (holes.empty()) return;  // the file system does not tell
    REQUIRE(holes.size() == 1);
    CHECK(holes[0].begin == kBlock);
    CHECK(holes[0].end == 4 * kBlock);
    CHECK(find_holes(file, 3 * kBlock + 1, 10).empty());
  }
  CHECK(find_holes(open_regular_file(root.write("whole", data)), 1, 10).empty());
  CHECK(find_holes(open_regular_file(root.write("empty", "")), 1, 10).empty());
}

TEST_CASE("a hole counts by its bytes between two offsets", "[base]") {
  const std::vector<FileHole> holes = {{10, 20}, {30, 50}};
  CHECK(has_hole(holes, 0, 100, 20));
  CHECK_FALSE(has_hole(holes, 0, 100, 21));
  CHECK(has_hole(holes, 0, 30, 10));
  CHECK_FALSE(has_hole(holes, 0, 19, 10));
  CHECK(has_hole(holes, 35, 40, 5));
  CHECK_FALSE(has_hole(holes, 20, 30, 1));
  CHECK_FALSE(has_hole(holes, 50, 60, 1));
  CHECK_FALSE(has_hole({}, 0, 100, 1));
}

}  // namespace hfload
