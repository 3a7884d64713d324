#include "core/format/zip_unpack.h"

#include <sys/statvfs.h>

#include <catch2/catch.hpp>
#include <map>

#include "core/base/directory.h"
#include "core/base/error.h"
#include "test/support/fixtures.h"
#include "test/support/temp_directory.h"

namespace hfload {
namespace {

ZipArchive read(const RegularFile& file) {
  return read_zip_archive(FileSource(file), ZipMethods::stored_and_deflated);
}

/// The members of a stored archive, by name.
std::map<std::string, std::string> contents(const RegularFile& file) {
  std::map<std::string, std::string> found;
  const FileSource source(file);
  for (const ZipMember& member : read_zip_archive(source).members) {
    std::string data(member.bytes, '\0');
    source.read(member.data_offset, std::as_writable_bytes(std::span(data)));
    CHECK(zip_member_crc(source, member) == member.crc);
    found[member.name] = std::move(data);
  }
  return found;
}

TEST_CASE("A deflated archive is unpacked to the members that its stored twin has") {
  // Python's zipfile wrote the one from the other.
  const RegularFile deflated = open_regular_file(test::fixture_path("torch/deflated.pt"));
  const RegularFile stored = open_regular_file(test::fixture_path("torch/views.pt"));
  CHECK(!has_deflated_members(read(stored)));
  const ZipArchive archive = read(deflated);
  REQUIRE(has_deflated_members(archive));
  const test::TempDirectory directory;
  const RegularFile unpacked = unpack_zip(deflated, archive, directory.path());
  CHECK(contents(unpacked) == contents(stored));
  CHECK(unpacked.path == deflated.path);
  CHECK(list_directory(directory.path()).empty());
  CHECK(contents(duplicate(unpacked)) == contents(stored));
}

TEST_CASE("A deflated member that is damaged is refused") {
  const std::string whole = test::read_file(test::fixture_path("torch/deflated.pt"));
  const test::TempDirectory directory;
  const auto code_of = [&](const std::string& bytes, auto&& change) {
    const RegularFile file = open_regular_file(directory.write("changed.pt", bytes));
    ZipArchive archive = read(file);
    change(archive);
    try {
      unpack_zip(file, archive, directory.path());
    } catch (const Error& error) {
      CHECK(error.path() == file.path);
      CHECK(!error.hint().empty());
      return error.code();
    }
    FAIL("accepted");
    return ErrorCode::internal;
  };
  const auto nothing = [](ZipArchive&) {};
  const RegularFile sound = open_regular_file(test::fixture_path("torch/deflated.pt"));
  size_t changed = 0;
  for (const ZipMember& member : read(sound).members) {
    if (!member.deflated || member.bytes < 8) continue;  // shorter ones have bits that say nothing
    for (const uint64_t at : {uint64_t{0}, member.stored_bytes / 2}) {
      std::string bytes = whole;
      bytes[member.data_offset + at] = static_cast<char>(bytes[member.data_offset + at] ^ 2);
      CHECK(code_of(bytes, nothing) == ErrorCode::invalid_zip);
      ++changed;
    }
  }
  CHECK(changed > 10);
  CHECK(code_of(whole, [](ZipArchive& a) { ++a.members[0].bytes; }) == ErrorCode::invalid_zip);
  CHECK(code_of(whole, [](ZipArchive& a) { --a.members[0].bytes; }) == ErrorCode::invalid_zip);
  CHECK(code_of(whole, [](ZipArchive& a) { a.members[0].bytes = kMaxRewrittenBytes; }) ==
        ErrorCode::unsupported_format);
}

TEST_CASE("There is no room for what a deflated archive holds") {
  struct statvfs status {};
  if (statvfs("/proc", &status) != 0 || status.f_bavail != 0) return;  // nothing is mounted there
  const RegularFile file = open_regular_file(test::fixture_path("torch/deflated.pt"));
  try {
    unpack_zip(file, read(file), "/proc");
    FAIL("accepted");
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::no_space);
    CHECK(error.hint().find("TMPDIR") != std::string::npos);
  }
}

}  // namespace
}  // namespace hfload
