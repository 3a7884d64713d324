#include "core/save/commit.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>

#include "core/base/error.h"
#include "core/save/commit_journal.h"
#include "test/support/fixtures.h"
#include "test/support/temp_directory.h"

namespace hfload {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> names_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_directory()) names.push_back(fs::relative(entry.path(), directory).string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

using Names = std::vector<std::string>;

template <class F>
ErrorCode code_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

/// An old set of two shards beside a file of the user's.
void write_old_set(const test::TempDirectory& root) {
  root.write("m/index.json", "old index");
  root.write("m/1-of-2", "old 1");
  root.write("m/2-of-2", "old 2");
  root.write("m/notes.txt", "notes");
}

const CommitSteps kSteps{{"index.json", "model"}, "index.json", {"2-of-2"}};

}  // namespace

TEST_CASE("a new directory appears whole", "[save]") {
  const test::TempDirectory root;
  {
    StagedFiles files = StagedFiles::in_directory(root / "m");
    files.add_text("a", "A");
    files.add_text("sub/b", "B");
    CHECK(!fs::exists(root / "m"));
    for (const auto& entry : fs::directory_iterator(root.path())) {
      CHECK(is_temporary_name_of(entry.path().filename().string(), "m"));
    }
    files.commit({{}, "a", {}});
  }
  CHECK(names_in(root.path()) == Names{"m/a", "m/sub/b"});
  CHECK(test::read_file(root / "m/sub/b") == "B");
}

TEST_CASE("what is not committed leaves nothing", "[save]") {
  const test::TempDirectory root;
  write_old_set(root);
  for (const char* name : {"new", "m"}) {
    StagedFiles files = StagedFiles::in_directory(root / name);
    files.add_text("1-of-2", "new");
  }
  { StagedFiles::of_file(root / "m/1-of-2").add_text("1-of-2", "new"); }
  CHECK(names_in(root.path()) == Names{"m/1-of-2", "m/2-of-2", "m/index.json", "m/notes.txt"});
  CHECK(test::read_file(root / "m/1-of-2") == "old 1");
}

TEST_CASE("an existing set is replaced, stale files go, others stay", "[save]") {
  const test::TempDirectory root;
  write_old_set(root);
  {
    StagedFiles files = StagedFiles::in_directory(root / "m");
    files.add_text("index.json", "new index");
    files.add_text("1-of-2", "new 1");
    files.add_text("sub/c", "new c");
    files.commit(kSteps);
  }
  CHECK(names_in(root / "m") == Names{"1-of-2", "index.json", "notes.txt", "sub/c"});
  CHECK(test::read_file(root / "m/index.json") == "new index");
  CHECK(test::read_file(root / "m/1-of-2") == "new 1");
}

TEST_CASE("a commit that was cut off anywhere is finished by the next run", "[save]") {
  const Journal journal{{"index.json"},
                        {{".1-of-2.hfload-000001", "1-of-2"}, {".index.json.hfload-000002", "index.json"}},
                        {"2-of-2"}};
  for (int done = 0; done <= 4; ++done) {
    const test::TempDirectory root;
    write_old_set(root);
    root.write("m/.1-of-2.hfload-000001", "new 1");
    root.write("m/.index.json.hfload-000002", "new index");
    const std::string path = root / "m";
    const FileDescriptor directory(open(path.c_str(), O_RDONLY | O_DIRECTORY));
    write_journal(directory.get(), path, journal);
    if (done > 0) fs::remove(root / "m/index.json");
    if (done > 1) fs::rename(root / "m/.1-of-2.hfload-000001", root / "m/1-of-2");
    if (done > 2) fs::rename(root / "m/.index.json.hfload-000002", root / "m/index.json");
    if (done > 3) fs::remove(root / "m/2-of-2");
    clean_leftovers(path);
    CAPTURE(done);
    CHECK(names_in(path) == Names{"1-of-2", "index.json", "notes.txt"});
    CHECK(test::read_file(root / "m/index.json") == "new index");
    CHECK(test::read_file(root / "m/1-of-2") == "new 1");
  }
}

TEST_CASE("leftovers of the dead go, those of the living stay", "[save]") {
  const test::TempDirectory root;
  root.write("m/.a.hfload-0123ab", "dead");
  root.write("m/.a.hfload-xyz", "not ours");
  root.write(".n.hfload-000000/a", "dead");
  root.write(".nn.hfload-000000/a", "another destination's");
  const std::string living = root.write(".n.hfload-000001/a", "living");
  const FileDescriptor lock(open(fs::path(living).parent_path().c_str(), O_RDONLY));
  REQUIRE(flock(lock.get(), LOCK_EX) == 0);
  { StagedFiles::in_directory(root / "m"); }
  { StagedFiles::in_directory(root / "n"); }
  CHECK(names_in(root.path()) == Names{".n.hfload-000001/a", ".nn.hfload-000000/a", "m/.a.hfload-xyz"});
}

TEST_CASE("a directory that another process writes to is busy", "[save]") {
  const test::TempDirectory root;
  root.write("m/a", "");
  const StagedFiles first = StagedFiles::in_directory(root / "m");
  CHECK(code_of([&] { StagedFiles::in_directory(root / "m"); }) == ErrorCode::destination_busy);
}

TEST_CASE("faults of a destination are told apart", "[save]") {
  const test::TempDirectory root;
  root.write("file", "");
  CHECK(code_of([&] { StagedFiles::in_directory(root / "absent/m"); }) == ErrorCode::not_found);
  CHECK(code_of([&] { StagedFiles::in_directory(root / "file"); }) == ErrorCode::not_a_file);
  CHECK(code_of([&] { StagedFiles::in_directory(root / "file/m"); }) == ErrorCode::not_a_file);
  CHECK(code_of([&] {
          StagedFiles files = StagedFiles::in_directory(root / "m");
          files.add("huge", uint64_t{1} << 60);
        }) != ErrorCode::internal);
  StagedFiles late = StagedFiles::in_directory(root / "m");
  late.add_text("a", "A");
  root.write("m/b", "made meanwhile");
  CHECK(code_of([&] { late.commit({{}, "a", {}}); }) == ErrorCode::destination_exists);
  CHECK(names_in(root / "m") == Names{"b"});
}

TEST_CASE("a journal that is none of ours is refused", "[save]") {
  for (const std::string& text :
       {std::string("x"), std::string("hfload commit 1\0>.a.hfload-000000\0../b\0", 38),
        std::string("hfload commit 1\0>a\0b\0", 20), std::string("hfload commit 1\0-/b\0", 19)}) {
    const test::TempDirectory root;
    root.write("m/.hfload-journal", text);
    root.write("m/.a.hfload-000000", "a");
    CHECK(code_of([&] { StagedFiles::in_directory(root / "m"); }) == ErrorCode::unsafe_path);
    CHECK(names_in(root / "m").size() == 2);
  }
}

TEST_CASE("one file is replaced at once", "[save]") {
  const test::TempDirectory root;
  root.write("a", "old");
  root.write(".a.hfload-000000", "dead");
  root.write("b", "b");
  {
    StagedFiles files = StagedFiles::of_file(root / "a");
    files.add_text("a", "new");
    CHECK(test::read_file(root / "a") == "old");
    files.commit({{}, "a", {}});
  }
  CHECK(names_in(root.path()) == Names{"a", "b"});
  CHECK(test::read_file(root / "a") == "new");
}

}  // namespace hfload
