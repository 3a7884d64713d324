#include "core/base/atomic_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "core/base/error.h"
#include "test/support/fixtures.h"
#include "test/support/temp_directory.h"

namespace hfload {
namespace {

ErrorCode code_of(const std::string& path) {
  try {
    write_file_atomically(path, "text");
  } catch (const Error& e) {
    CHECK(e.path() == path);
    return e.code();
  }
  return ErrorCode::internal;
}

size_t files_in(const std::filesystem::path& directory) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(directory), {}));
}

}  // namespace

TEST_CASE("a file is written whole, replaced, and nothing is left beside it", "[base]") {
  const test::TempDirectory directory;
  const std::string path = directory / "a";
  write_file_atomically(path, "first, and longer");
  write_file_atomically(path, "second");
  CHECK(test::read_file(path) == "second");
  CHECK(files_in(directory.path()) == 1);
}

TEST_CASE("rights of a replaced file stay, a link is followed", "[base]") {
  const test::TempDirectory directory;
  const auto file = std::filesystem::path(directory.path()) / "a",
             link = std::filesystem::path(directory.path()) / "b";
  write_file_atomically(file.string(), "first");
  REQUIRE(chmod(file.c_str(), 0640) == 0);
  std::filesystem::create_symlink("a", link);
  write_file_atomically(link.string(), "second");
  CHECK(std::filesystem::is_symlink(link));
  CHECK(test::read_file(file.string()) == "second");
  struct stat status {};
  REQUIRE(stat(file.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0640);
}

TEST_CASE("what is no file is refused and stays as it is", "[base]") {
  const test::TempDirectory directory;
  const auto root = std::filesystem::path(directory.path());
  REQUIRE(mkfifo((root / "pipe").c_str(), 0600) == 0);
  CHECK(code_of((root / "pipe").string()) == ErrorCode::not_a_file);
  CHECK(code_of(root.string()) == ErrorCode::not_a_file);
  CHECK(code_of("/dev/null") == ErrorCode::not_a_file);
  CHECK(code_of((root / "absent" / "a").string()) == ErrorCode::not_found);
  CHECK(files_in(root) == 1);
}

}  // namespace hfload
