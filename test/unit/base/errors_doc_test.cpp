#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "core/base/error.h"

namespace hfload {
namespace {

std::vector<std::string> rows_of_code_table() {
  std::ifstream file(HFLOAD_SOURCE_DIR "/docs/errors.md");
  REQUIRE(file);
  std::vector<std::string> rows;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("| `")) rows.push_back(line);
  }
  return rows;
}

TEST_CASE(
    "docs/errors.md lists every error code with its exit status and meaning, in the order of the code") {
  const std::vector<std::string> rows = rows_of_code_table();
  const auto table = error_code_table();
  REQUIRE(rows.size() == table.size());
  for (size_t i = 0; i < table.size(); ++i) {
    std::ostringstream expected;
    expected << "| `" << table[i].name << "` | " << table[i].exit_status << " | " << table[i].meaning << " |";
    CHECK(rows[i] == expected.str());
  }
}

}  // namespace
}  // namespace hfload
