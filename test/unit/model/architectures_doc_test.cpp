#include <catch2/catch.hpp>
#include <string>

#include "core/model/architecture.h"
#include "test/support/fixtures.h"

namespace hfload {
namespace {

const std::string kSource = HFLOAD_SOURCE_DIR;

/// The row of a model type in the table of docs/architectures.md; empty where there is none.
std::string row_of(const std::string& page, std::string_view model_type) {
  const std::string start = "\n| `" + std::string(model_type) + "` | ";
  const size_t begin = page.find(start);
  if (begin == std::string::npos) return "";
  return page.substr(begin + 1, page.find('\n', begin + 1) - begin - 1);
}

/// Whether the second cell of a row names the class.
bool lists_class(const std::string& row, std::string_view class_name) {
  const size_t begin = row.find("` | ") + 4;
  const std::string classes = ", " + row.substr(begin, row.find(" | ", begin) - begin) + ",";
  return classes.find(", " + std::string(class_name) + ",") != std::string::npos;
}

TEST_CASE("docs/architectures.md lists every architecture with all of its classes") {
  const std::string page = test::read_file(kSource + "/docs/architectures.md");
  for (const Architecture* architecture : architectures()) {
    INFO(architecture->model_type << ": run test/oracle/list_architectures.py --write");
    const std::string row = row_of(page, architecture->model_type);
    CHECK(row != "");
    if (row.empty()) continue;
    for (const ModelClass& c : architecture->classes) {
      INFO(c.name);
      CHECK(lists_class(row, c.name));
    }
  }
}

TEST_CASE("README.md gives the number of known architectures") {
  const std::string expected = std::to_string(architectures().size()) + " model types";
  INFO(expected << ": run test/oracle/list_architectures.py --write");
  CHECK(test::read_file(kSource + "/README.md").find("Known architectures: " + expected) !=
        std::string::npos);
}

}  // namespace
}  // namespace hfload
