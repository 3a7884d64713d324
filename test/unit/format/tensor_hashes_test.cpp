#include "core/format/tensor_hashes.h"

#include <catch2/catch.hpp>
#include <map>

#include "core/base/error.h"

namespace hfload {

TEST_CASE("a file of hashes is read by name", "[format]") {
  std::map<std::string, SavedHash> hashes;
  parse_tensor_hashes(
      R"({"schema": "hfload.hashes/1", "tensors": {"w": {"dtype": "F32", "shape": [2, 3], "hash": "00ff00ff00ff00ff"}}})",
      [&](std::string_view tensor, const SavedHash& saved) { hashes.emplace(tensor, saved); });
  REQUIRE(hashes.size() == 1);
  CHECK(hashes.at("w") == SavedHash{"F32", {2, 3}, "00ff00ff00ff00ff"});
}

TEST_CASE("what is no file of hashes is refused", "[format]") {
  for (
      const char* text : {
          R"({})",
          R"([])",
          R"({"schema": "hfload.hashes/2", "tensors": {}})",
          R"({"schema": "hfload.hashes/1", "tensors": []})",
          R"({"schema": "hfload.hashes/1", "tensors": {"w": 1}})",
          R"({"schema": "hfload.hashes/1", "tensors": {"w": {"dtype": "F32", "shape": [1]}}})",
          R"({"schema": "hfload.hashes/1", "tensors": {"w": {"dtype": "F32", "shape": [-1], "hash": "00ff00ff00ff00ff"}}})",
          R"({"schema": "hfload.hashes/1", "tensors": {"w": {"dtype": "F32", "shape": [1], "hash": "00FF00ff00ff00ff"}}})",
          R"({"schema": "hfload.hashes/1", "tensors": {"w": {"dtype": "F32", "shape": [1], "hash": "00ff"}}})",
          R"({"schema": "hfload.hashes/1")",
      }) {
    CAPTURE(text);
    try {
      parse_tensor_hashes(text, [](std::string_view, const SavedHash&) {});
      FAIL("was accepted");
    } catch (const Error& error) {
      CHECK(error.exit_status() == 3);
      CHECK_FALSE(error.hint().empty());
    }
  }
}

}  // namespace hfload
