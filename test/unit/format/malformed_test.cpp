#include <catch2/catch.hpp>
#include <set>

#include "core/format/model_config.h"
#include "core/format/safetensors.h"
#include "core/format/shard_index.h"
#include "test/support/malformed_corpus.h"

namespace hfload {
namespace {

using test::DocumentKind;
using test::MalformedCase;

void parse(const MalformedCase& malformed) {
  switch (malformed.kind) {
    case DocumentKind::safetensors:
      parse_safetensors_header(std::as_bytes(std::span(malformed.bytes)), malformed.bytes.size());
      break;
    case DocumentKind::shard_index:
      parse_shard_index(malformed.bytes);
      break;
    case DocumentKind::model_config:
      parse_model_config(malformed.bytes);
      break;
  }
}

TEST_CASE("Every malformed document is refused with its own code, tensor and offset") {
  const std::vector<MalformedCase> corpus = test::malformed_corpus();
  REQUIRE(corpus.size() >= 100);
  std::set<std::pair<DocumentKind, std::string>> names;
  for (const MalformedCase& malformed : corpus) {
    CAPTURE(malformed.kind, malformed.name);
    CHECK(names.emplace(malformed.kind, malformed.name).second);
    try {
      parse(malformed);
      FAIL_CHECK("accepted");
    } catch (const Error& error) {
      CAPTURE(error.message());
      CHECK(error_code_info(error.code()).name == error_code_info(malformed.code).name);
      CHECK(error.exit_status() == 3);
      CHECK(error.tensor() == malformed.tensor);
      CHECK(error.offset().has_value());
      if (malformed.offset) CHECK(error.offset().value_or(UINT64_MAX) == *malformed.offset);
      CHECK(!error.message().empty());
      CHECK(!error.hint().empty());
    }
  }
}

}  // namespace
}  // namespace hfload
