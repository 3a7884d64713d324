#include "core/base/error.h"

#include <catch2/catch.hpp>
#include <set>

#include "core/base/system_error.h"

namespace hfload {
namespace {

TEST_CASE("The table of error codes is indexed by code and its names are unique") {
  std::set<std::string_view> names;
  for (size_t i = 0; i < error_code_table().size(); ++i) {
    const ErrorCodeInfo& info = error_code_table()[i];
    CAPTURE(info.name);
    CHECK(static_cast<size_t>(info.code) == i);
    CHECK(&error_code_info(info.code) == &info);
    CHECK(names.insert(info.name).second);
    CHECK(!info.meaning.empty());
    const std::set<int> statuses = {1, 2, 3, 4, 5, 8, 9, 130};
    CHECK(statuses.contains(info.exit_status));
  }
}

TEST_CASE("An error carries what it was given") {
  const Error error = Error(ErrorCode::offset_gap, "a gap")
                          .with_path("f")
                          .with_tensor("t")
                          .with_offset(7)
                          .with_hint("mend it");
  CHECK(error.code() == ErrorCode::offset_gap);
  CHECK(error.exit_status() == 3);
  CHECK(error.message() == "a gap");
  CHECK(std::string(error.what()) == "a gap");
  CHECK(error.path() == "f");
  CHECK(error.tensor() == "t");
  CHECK(error.offset().value() == 7);
  CHECK(error.hint() == "mend it");
  CHECK(!Error(ErrorCode::internal, "x").offset().has_value());
}

TEST_CASE("A refused system call says whose rights are short") {
  const Error read = system_error("opening the file", EACCES, "f", PathUse::read);
  CHECK(read.code() == ErrorCode::io_error);
  CHECK(read.hint().find("who may read it") != std::string::npos);
  CHECK(system_error("writing", EACCES, "f").hint().find("who may write there") != std::string::npos);
  CHECK(system_error("writing", ENOSPC, "f").code() == ErrorCode::no_space);
}

}  // namespace
}  // namespace hfload
