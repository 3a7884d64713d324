#include "core/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <iterator>

#include "core/base/error.h"
#include "test/support/fixtures.h"
#include "test/support/temp_directory.h"

namespace hfload {
namespace {

using test::TempDirectory;

/// The code of the Error that `f` throws, and its hint; fails when it throws none.
template <class F>
Error error_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::internal, "nothing was thrown");
}

std::string content(const RegularFile& file) { return read_text_file(file, 1000); }

TEST_CASE("A regular file is opened with its identity") {
  const TempDirectory directory;
  const std::string path = directory.write("f", "hello");
  const RegularFile file = open_regular_file(path);
  CHECK(file.path == path);
  CHECK(file.identity.bytes == 5);
  CHECK(content(file) == "hello");
  CHECK_NOTHROW(require_unchanged(file));
  CHECK(open_regular_file(path).identity == file.identity);
}

TEST_CASE("What is no regular file is refused without waiting for it") {
  const TempDirectory directory;
  const std::string pipe = directory / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(error_of([&] { open_regular_file(pipe); }).code() == ErrorCode::not_a_file);
  CHECK(error_of([&] { open_regular_file(directory.path()); }).code() == ErrorCode::not_a_file);
  CHECK(error_of([&] { open_regular_file("/dev/zero"); }).code() == ErrorCode::not_a_file);
  CHECK(error_of([&] { open_regular_file(directory / "absent"); }).code() == ErrorCode::not_found);
  CHECK(error_of([&] { open_regular_file(directory.write("f", "") + "/below"); }).code() ==
        ErrorCode::not_found);
  CHECK(error_of([&] { open_regular_file(directory / std::string(300, 'x')); }).code() ==
        ErrorCode::not_found);
  CHECK(error_of([&] { open_regular_file(directory.write("f", "") + std::string("\0g", 2)); }).code() ==
        ErrorCode::not_found);
}

TEST_CASE("A file that may not be read is an I/O error") {
  if (geteuid() == 0) {
    WARN("skipped: root may read every file");
    return;
  }
  const TempDirectory directory;
  const std::string path = directory.write("f", "x");
  std::filesystem::permissions(path, std::filesystem::perms::none);
  const Error error = error_of([&] { open_regular_file(path); });
  CHECK(error.code() == ErrorCode::io_error);
  CHECK(error.path() == path);
}

TEST_CASE("Reads are exact and never past the end") {
  const TempDirectory directory;
  const RegularFile file = open_regular_file(directory.write("f", "0123456789"));
  std::string buffer(4, ' ');
  read_exactly(file, 3, std::as_writable_bytes(std::span(buffer)));
  CHECK(buffer == "3456");
  read_exactly(file, 10, {});
  const Error error = error_of([&] { read_exactly(file, 8, std::as_writable_bytes(std::span(buffer))); });
  CHECK(error.code() == ErrorCode::changed_during_read);
  CHECK(error.offset().value() == 10);
  CHECK(error.path() == file.path);
  CHECK(error_of([&] {
          read_exactly(file, UINT64_MAX - 1, std::as_writable_bytes(std::span(buffer)));
        }).code() == ErrorCode::changed_during_read);
}

TEST_CASE("A file that changes while it is open is noticed") {
  const TempDirectory directory;
  const std::string path = directory.write("f", "0123456789");
  const RegularFile file = open_regular_file(path);
  SECTION("truncated") { std::filesystem::resize_file(path, 4); }
  SECTION("grown") { std::filesystem::resize_file(path, 40); }
  SECTION("rewritten") {
    const timespec times[2] = {{.tv_sec = 1, .tv_nsec = 0}, {.tv_sec = 1, .tv_nsec = 1}};
    REQUIRE(utimensat(AT_FDCWD, path.c_str(), times, 0) == 0);
  }
  CHECK(error_of([&] { require_unchanged(file); }).code() == ErrorCode::changed_during_read);
  CHECK(error_of([&] { content(file); }).code() == ErrorCode::changed_during_read);
  CHECK(error_of([&] { MappedFile mapping(file); }).code() == ErrorCode::changed_during_read);
}

TEST_CASE(
    "Two openings of a file are compared by all that tells its state, over a network by size and time") {
  const FileIdentity before{.device = 1, .inode = 2, .bytes = 3, .modified_ns = 4};
  for (const bool on_network : {false, true}) {
    const auto same_as_before = [&](const FileIdentity& now) {
      return is_same_state(now, before, on_network);
    };
    CHECK(same_as_before(before));
    CHECK(same_as_before({.device = 9, .inode = 2, .bytes = 3, .modified_ns = 4}) == on_network);
    CHECK(same_as_before({.device = 1, .inode = 9, .bytes = 3, .modified_ns = 4}) == on_network);
    CHECK_FALSE(same_as_before({.device = 1, .inode = 2, .bytes = 9, .modified_ns = 4}));
    CHECK_FALSE(same_as_before({.device = 1, .inode = 2, .bytes = 3, .modified_ns = 9}));
  }
}

TEST_CASE("A text file above its limit is refused before it is read") {
  const TempDirectory directory;
  const std::string path = directory.write("f", "");
  std::filesystem::resize_file(path, uint64_t{1} << 40);
  const RegularFile file = open_regular_file(path);
  CHECK(error_of([&] { read_text_file(file, 1000); }).code() == ErrorCode::json_too_large);
  CHECK(read_text_file(open_regular_file(directory.write("g", "1234")), 4) == "1234");
  CHECK(error_of([&] { read_text_file(open_regular_file(directory.write("g", "12345")), 4); }).code() ==
        ErrorCode::json_too_large);
}

TEST_CASE("A mapping shows the file's bytes") {
  const TempDirectory directory;
  const RegularFile file = open_regular_file(directory.write("f", "mapped"));
  MappedFile mapping(file);
  const MappedFile moved = std::move(mapping);
  const std::string_view text(reinterpret_cast<const char*>(moved.bytes().data()), moved.bytes().size());
  CHECK(text == "mapped");
  CHECK(MappedFile(open_regular_file(directory.write("empty", ""))).bytes().empty());
}

TEST_CASE("What the operating system refuses is an I/O error") {
  const RegularFile closed{.fd = {}, .identity = {.bytes = 4}, .path = "closed"};
  std::string buffer(4, ' ');
  const Error error = error_of([&] { read_exactly(closed, 0, std::as_writable_bytes(std::span(buffer))); });
  CHECK(error.code() == ErrorCode::io_error);
  CHECK(error.path() == "closed");
  CHECK(error_of([&] { require_unchanged(closed); }).code() == ErrorCode::io_error);
  CHECK(error_of([&] { MappedFile mapping(closed); }).code() == ErrorCode::io_error);
}

TEST_CASE("Files and mappings are given back") {
  const auto open_files = [] {
    const std::filesystem::directory_iterator entries("/proc/self/fd");
    return std::distance(begin(entries), end(entries));
  };
  const TempDirectory directory;
  const std::string path = directory.write("f", "text");
  const auto before = open_files();
  for (int i = 0; i < 10; ++i) {
    const MappedFile mapping(open_regular_file(path));
    CHECK(error_of([&] { open_regular_file(directory.path()); }).code() == ErrorCode::not_a_file);
  }
  CHECK(open_files() == before);
  CHECK(test::read_file("/proc/self/maps").find(path) == std::string::npos);
}

}  // namespace
}  // namespace hfload
