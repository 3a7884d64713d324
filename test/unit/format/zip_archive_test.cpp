#include "core/format/zip_archive.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>

#include "core/base/error.h"
#include "test/support/fixtures.h"
#include "test/support/zip_builder.h"

namespace hfload {
namespace {

using test::zip_bytes;
using test::ZipBytes;
using test::ZipKind;

const std::vector<test::ZipEntry> kEntries = {
    {"a/data.pkl", "pickle"}, {"a/data/0", "12345678"}, {"a/version", "3\n"}};

ZipArchive parse(const std::string& bytes) {
  return read_zip_archive(MemorySource(std::as_bytes(std::span(bytes))));
}

Error refusal(const std::string& bytes) {
  try {
    parse(bytes);
  } catch (const Error& error) {
    REQUIRE(error.offset().has_value());
    CHECK(*error.offset() <= bytes.size());
    return error;
  }
  FAIL("accepted");
  throw;
}

TEST_CASE("Archives of every kind are read") {
  for (const ZipKind kind : {ZipKind::plain, ZipKind::descriptor, ZipKind::zip64}) {
    const ZipBytes zip = zip_bytes(kEntries, kind);
    const ZipArchive archive = parse(zip.bytes);
    REQUIRE(archive.members.size() == 3);
    for (const test::ZipEntry& entry : kEntries) {
      const ZipMember* member = archive.find(entry.name);
      REQUIRE(member != nullptr);
      CHECK(zip.bytes.substr(member->data_offset, member->bytes) == entry.data);
      CHECK(zip_member_crc(MemorySource(std::as_bytes(std::span(zip.bytes))), *member) == member->crc);
    }
    CHECK(archive.find("a/data") == nullptr);
  }
  CHECK(parse(zip_bytes({}).bytes).members.empty());
}

TEST_CASE("The check value of CRC-32") {
  const ZipBytes zip = zip_bytes({{"x", "123456789"}});
  CHECK(zip_member_crc(MemorySource(std::as_bytes(std::span(zip.bytes))), parse(zip.bytes).members[0]) ==
        0xCBF43926);
}

TEST_CASE("PyTorch's archives have the members that Python finds in them") {
  size_t archives = 0;
  for (const ConfigValue& row : test::read_jsonl_fixture("torch/expected.jsonl")) {
    const ConfigValue& expected = test::at(row, "members");
    if (std::holds_alternative<std::nullptr_t>(expected.value)) continue;
    ++archives;
    const std::string path = test::fixture_path("torch/" + test::string_of(test::at(row, "file")));
    INFO(path);
    const RegularFile file = open_regular_file(path);
    const FileSource source(file);
    const ZipArchive archive = read_zip_archive(source);
    CHECK(archive.members.size() == test::array_of(expected).size());
    for (const ConfigValue& entry : test::array_of(expected)) {
      const ConfigValue::Array& fields = test::array_of(entry);
      const ZipMember* member = archive.find(test::string_of(fields[0]));
      REQUIRE(member != nullptr);
      CHECK(member->header_offset == test::uint_of(fields[1]));
      CHECK(member->bytes == test::uint_of(fields[2]));
      CHECK(member->crc == test::uint_of(fields[3]));
      CHECK(zip_member_crc(source, *member) == member->crc);
    }
  }
  CHECK(archives >= 9);
}

TEST_CASE("Refused archives") {
  struct Case {
    std::string name;
    ErrorCode code;
    std::function<void(ZipBytes&)> change;
    ZipKind kind = ZipKind::plain;
  };
  constexpr ErrorCode kInvalid = ErrorCode::invalid_zip, kUnsupported = ErrorCode::unsupported_format;
  const std::vector<Case> cases = {
      {"cut off", kInvalid, [](ZipBytes& z) { z.bytes.pop_back(); }},
      {"more than 64 KiB behind", kInvalid, [](ZipBytes& z) { z.bytes += std::string(65536, 'x'); }},
      {"another end record behind", kInvalid, [](ZipBytes& z) { z.bytes += z.bytes.substr(z.end); }},
      {"another archive behind", kInvalid, [](ZipBytes& z) { z.bytes += z.bytes; }},
      {"an end record in the comment", kInvalid,
       [](ZipBytes& z) { z.put(z.end + 20, 22, 2).bytes += z.bytes.substr(z.end, 20) + "xx"; }},
      {"the start of an end record behind", kInvalid, [](ZipBytes& z) { z.bytes += "PK\x05\x06"; }},
      {"leading byte", kInvalid, [](ZipBytes& z) { z.bytes.insert(0, "x"); }},
      {"half a comment", kInvalid, [](ZipBytes& z) { z.put(z.end + 20, 4, 2).bytes += "abc"; }},
      {"comment length lies", kInvalid, [](ZipBytes& z) { z.put(z.end + 20, 3, 2); }},
      {"end record's disk", kUnsupported, [](ZipBytes& z) { z.put(z.end + 4, 1, 2); }},
      {"directory's disk", kUnsupported, [](ZipBytes& z) { z.put(z.end + 6, 1, 2); }},
      {"members on this disk", kUnsupported, [](ZipBytes& z) { z.put(z.end + 8, 2, 2); }},
      {"too few members", kInvalid, [](ZipBytes& z) { z.put(z.end + 8, 2, 2).put(z.end + 10, 2, 2); }},
      {"too many members", kInvalid, [](ZipBytes& z) { z.put(z.end + 8, 4, 2).put(z.end + 10, 4, 2); }},
      {"directory's size", kInvalid, [](ZipBytes& z) { z.put(z.end + 12, 1, 4); }},
      {"directory's offset", kInvalid, [](ZipBytes& z) { z.put(z.end + 16, 0xFFFFFFFE, 4); }},
      {"zip64 without a record", kInvalid, [](ZipBytes& z) { z.put(z.end + 16, 0xFFFFFFFF, 4); }},
      {"zip64 locator elsewhere", kInvalid, [](ZipBytes& z) { z.put(z.end - 12, 1, 8); }, ZipKind::zip64},
      {"zip64 locator at 2^64-1", kInvalid, [](ZipBytes& z) { z.put(z.end - 12, ~0ULL, 8); }, ZipKind::zip64},
      {"zip64 disks", kUnsupported, [](ZipBytes& z) { z.put(z.end - 4, 2, 4); }, ZipKind::zip64},
      {"zip64 disk", kUnsupported, [](ZipBytes& z) { z.put(z.zip64_end + 16, 1, 4); }, ZipKind::zip64},
      {"zip64 record's size", kInvalid, [](ZipBytes& z) { z.put(z.zip64_end + 4, 45, 8); }, ZipKind::zip64},
      {"zip64 record's signature", kInvalid, [](ZipBytes& z) { z.put(z.zip64_end, 0, 4); }, ZipKind::zip64},
      {"zip64 directory at 2^64-1", kInvalid, [](ZipBytes& z) { z.put(z.zip64_end + 48, ~0ULL, 8); },
       ZipKind::zip64},
      {"zip64 directory of 2^64-1 bytes", kInvalid, [](ZipBytes& z) { z.put(z.zip64_end + 40, ~0ULL, 8); },
       ZipKind::zip64},
      {"zip64 members", kInvalid,
       [](ZipBytes& z) { z.put(z.zip64_end + 24, 1ULL << 40, 8).put(z.zip64_end + 32, 1ULL << 40, 8); },
       ZipKind::zip64},
      {"zip64 members on this disk", kInvalid, [](ZipBytes& z) { z.put(z.zip64_end + 24, 2, 8); },
       ZipKind::zip64},
      {"the two ends disagree", kInvalid, [](ZipBytes& z) { z.put(z.end + 8, 2, 2).put(z.end + 10, 2, 2); },
       ZipKind::zip64},
      {"zip64 member of 2^64-1 bytes", kInvalid,
       [](ZipBytes& z) { z.put(z.central[1] + 58, ~0ULL, 8).put(z.central[1] + 66, ~0ULL, 8); },
       ZipKind::zip64},
      {"zip64 sizes differ", kInvalid, [](ZipBytes& z) { z.put(z.central[1] + 58, 7, 8); }, ZipKind::zip64},
      {"zip64 offset of 2^64-1", kInvalid, [](ZipBytes& z) { z.put(z.central[1] + 74, ~0ULL, 8); },
       ZipKind::zip64},
      {"zip64 field without values", kInvalid, [](ZipBytes& z) { z.put(z.central[1] + 56, 16, 2); },
       ZipKind::zip64},
      {"zip64 field of another kind", kInvalid, [](ZipBytes& z) { z.put(z.central[1] + 54, 2, 2); },
       ZipKind::zip64},
      {"local zip64 size", kInvalid, [](ZipBytes& z) { z.put(z.local[1] + 30 + 8 + 4, 7, 8); },
       ZipKind::zip64},
      {"central signature", kInvalid, [](ZipBytes& z) { z.put(z.central[1], 0, 4); }},
      {"encrypted", kUnsupported, [](ZipBytes& z) { z.put(z.central[1] + 8, 1, 2); }},
      {"strongly encrypted", kUnsupported, [](ZipBytes& z) { z.put(z.central[1] + 8, 0x41, 2); }},
      {"patched data", kInvalid, [](ZipBytes& z) { z.put(z.central[1] + 8, 0x20, 2); }},
      {"deflated", kUnsupported,
       [](ZipBytes& z) { z.put(z.central[1] + 10, 8, 2).put(z.local[1] + 8, 8, 2); }},
      {"locally deflated", kInvalid, [](ZipBytes& z) { z.put(z.local[1] + 8, 8, 2); }},
      {"locally encrypted", kInvalid, [](ZipBytes& z) { z.put(z.local[1] + 6, 1, 2); }},
      {"central checksum", kInvalid, [](ZipBytes& z) { z.put(z.central[1] + 16, 0, 4); }},
      {"local checksum", kInvalid, [](ZipBytes& z) { z.put(z.local[1] + 14, 0, 4); }},
      {"checksum after the data", kInvalid, [](ZipBytes& z) { z.put(z.local[2] - 12, 0, 4); },
       ZipKind::descriptor},
      {"size after the data", kInvalid, [](ZipBytes& z) { z.put(z.local[2] - 4, 9, 4); },
       ZipKind::descriptor},
      {"one central size", kInvalid, [](ZipBytes& z) { z.put(z.central[1] + 20, 7, 4); }},
      {"both central sizes", kInvalid,
       [](ZipBytes& z) { z.put(z.central[1] + 20, 7, 4).put(z.central[1] + 24, 7, 4); }},
      {"both sizes everywhere", kInvalid,
       [](ZipBytes& z) {
         z.put(z.central[1] + 20, 7, 4)
             .put(z.central[1] + 24, 7, 4)
             .put(z.local[1] + 18, 7, 4)
             .put(z.local[1] + 22, 7, 4);
       }},
      {"sizes beyond the directory", kInvalid,
       [](ZipBytes& z) { z.put(z.central[1] + 20, 0xFFFFFFF0, 4).put(z.central[1] + 24, 0xFFFFFFF0, 4); }},
      {"local size", kInvalid, [](ZipBytes& z) { z.put(z.local[1] + 22, 7, 4); }},
      {"member's disk", kUnsupported, [](ZipBytes& z) { z.put(z.central[1] + 34, 1, 2); }},
      {"name's length", kInvalid, [](ZipBytes& z) { z.put(z.central[2] + 28, 0xFFFF, 2); }},
      {"extra's length", kInvalid, [](ZipBytes& z) { z.put(z.central[2] + 30, 0xFFFF, 2); }},
      {"comment's length", kInvalid, [](ZipBytes& z) { z.put(z.central[2] + 32, 0xFFFF, 2); }},
      {"local name", kInvalid, [](ZipBytes& z) { z.put(z.local[1] + 30, 'b', 1); }},
      {"local name's length", kInvalid, [](ZipBytes& z) { z.put(z.local[1] + 26, 7, 2); }},
      {"local extra's length", kInvalid, [](ZipBytes& z) { z.put(z.local[2] + 28, 0xFFFF, 2); }},
      {"local signature", kInvalid, [](ZipBytes& z) { z.put(z.local[1], 0, 4); }},
      {"two entries, one member", kInvalid, [](ZipBytes& z) { z.put(z.central[2] + 42, z.local[1], 4); }},
      {"offset in the directory", kInvalid, [](ZipBytes& z) { z.put(z.central[2] + 42, z.directory, 4); }},
      {"offset inside the data", kInvalid, [](ZipBytes& z) { z.put(z.central[2] + 42, z.local[1] + 40, 4); }},
  };
  for (const Case& c : cases) {
    INFO(c.name);
    ZipBytes zip = zip_bytes(kEntries, c.kind);
    c.change(zip);
    CHECK(error_code_info(refusal(zip.bytes).code()).name == error_code_info(c.code).name);
  }
}

TEST_CASE("A comment and bytes behind the archive are passed over") {
  const auto changed = [](uint64_t comment_bytes, const std::string& behind) {
    ZipBytes zip = zip_bytes(kEntries);
    zip.put(zip.end + 20, comment_bytes, 2);
    return parse(zip.bytes + behind);
  };
  const ZipArchive none = changed(0, ""), comment = changed(3, "abc"), trailing = changed(0, "x"),
                   both = changed(2, std::string(65535, 'c'));
  CHECK((none.comment_bytes == 0 && none.trailing_bytes == 0));
  CHECK((comment.comment_bytes == 3 && comment.trailing_bytes == 0));
  CHECK((trailing.comment_bytes == 0 && trailing.trailing_bytes == 1));
  CHECK((both.comment_bytes == 2 && both.trailing_bytes == 65533));
  for (const ZipArchive& archive : {none, comment, trailing, both}) {
    REQUIRE(archive.members.size() == 3);
    CHECK(archive.members[0].data_offset == none.members[0].data_offset);
  }
}

TEST_CASE("A gap between members is refused") {
  ZipBytes zip = zip_bytes(kEntries);
  ZipBytes two = zip_bytes({kEntries[0], kEntries[2]});
  // The archive of three, with a directory of the first and the last alone.
  std::string bytes = zip.bytes.substr(0, zip.directory);
  ZipBytes gap{bytes + two.bytes.substr(two.directory), {}, {}, zip.directory, 0, 0};
  gap.end = gap.bytes.size() - 22;
  gap.put(zip.directory + two.central[1] - two.directory + 42, zip.local[2], 4)
      .put(gap.end + 16, zip.directory, 4);
  CHECK(refusal(gap.bytes).message().find("belong to none") != std::string::npos);
  // The same behind the last member.
  ZipBytes behind = zip_bytes(kEntries);
  behind.bytes.insert(behind.directory, "xx");
  behind.put(behind.end + 2 + 16, behind.directory + 2, 4);
  CHECK(refusal(behind.bytes).message().find("belong to none") != std::string::npos);
}

TEST_CASE("Refused names of members") {
  for (const std::string name : {"", "/a", "../a", "a/../b", "a/./b", "a//b", "a\\b", "C:/a", "..", "a/.."}) {
    INFO(name);
    CHECK(refusal(zip_bytes({{name, "x"}}).bytes).code() == ErrorCode::invalid_zip);
  }
  CHECK(refusal(zip_bytes({{std::string("a\0b", 3), "x"}}).bytes).code() == ErrorCode::invalid_zip);
  CHECK(refusal(zip_bytes({{"\xff", "x"}}).bytes).code() == ErrorCode::invalid_zip);
  CHECK(refusal(zip_bytes({{std::string(kMaxZipNameBytes + 1, 'n'), "x"}}).bytes).code() ==
        ErrorCode::invalid_zip);
  CHECK(refusal(zip_bytes({{"a", "x"}, {"a", "y"}}).bytes).code() == ErrorCode::invalid_zip);
  CHECK(refusal(zip_bytes({{"a/", "x"}}).bytes).code() == ErrorCode::invalid_zip);
  CHECK(parse(zip_bytes({{"a/", ""}, {std::string(kMaxZipNameBytes, 'n'), "x"}, {"é/.data/..x", "y"}}).bytes)
            .members.size() == 3);
}

TEST_CASE("Every shortened archive is refused") {
  for (const ZipKind kind : {ZipKind::plain, ZipKind::descriptor, ZipKind::zip64}) {
    const std::string whole = zip_bytes(kEntries, kind).bytes;
    for (size_t bytes = 0; bytes < whole.size(); ++bytes)
      CHECK(refusal(whole.substr(0, bytes)).exit_status() == 3);
  }
}

TEST_CASE("Every changed bit of an archive's structure is refused or harmless") {
  for (const ZipKind kind : {ZipKind::plain, ZipKind::descriptor, ZipKind::zip64}) {
    const std::string whole = zip_bytes(kEntries, kind).bytes;
    for (size_t bit = 0; bit < 8 * whole.size(); ++bit) {
      std::string changed = whole;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
      try {
        const ZipArchive archive = parse(changed);
        REQUIRE(archive.members.size() == 3);
        for (const ZipMember& member : archive.members)
          CHECK(member.data_offset + member.bytes <= changed.size());
      } catch (const Error& error) {
        CHECK((error.exit_status() == 3 || error.exit_status() == 4));
      }
    }
  }
}

}  // namespace
}  // namespace hfload
