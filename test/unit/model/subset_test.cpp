#include "core/model/subset.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/model/shell.h"
#include "test/support/fixtures.h"

namespace hfload {
namespace {

using namespace test;

struct Selected {
  KeyMatches keys;
  SubsetSkips skips;
  std::vector<std::string> names;  ///< of the tensors of the checkpoint that are kept
};

Selected select(const std::string& fixture, const std::vector<std::string>& patterns) {
  const Checkpoint checkpoint = open_checkpoint(locate_model(fixture_path("checkpoints/" + fixture), {}));
  const Shell shell = build_shell(checkpoint, {});
  Selected selected;
  selected.keys = match_keys(shell.tree, checkpoint);
  // Keys of each kind, as a checkpoint of another model would have them.
  selected.keys.missing_keys = {"encoder.lost", "lost"};
  selected.keys.unexpected_keys = {"encoder.extra", "extra"};
  selected.keys.mismatched_keys = {{"encoder.odd", {1}, {2}}, {"odd", {1}, {2}}};
  selected.skips = select_subset(selected.keys, shell.tree, checkpoint, patterns);
  for (const KeyMatch& match : selected.keys.matches)
    selected.names.push_back(checkpoint.tensors[match.checkpoint].name.str());
  return selected;
}

TEST_CASE("A subset keeps the tensors and keys whose names match", "[model]") {
  const Selected all = select("t5-v1_1-tiny-sharded", {"*"});
  CHECK(all.skips.tensors == 0);
  CHECK(all.skips.bytes == 0);
  CHECK(all.keys.missing_keys.size() == 2);

  const Selected some = select("t5-v1_1-tiny-sharded", {"encoder.*", "lm_head.weigh[t]"});
  CHECK(some.keys.missing_keys == std::vector<std::string>{"encoder.lost"});
  CHECK(some.keys.unexpected_keys == std::vector<std::string>{"encoder.extra"});
  REQUIRE(some.keys.mismatched_keys.size() == 1);
  CHECK(some.keys.mismatched_keys[0].name == "encoder.odd");
  CHECK(some.names.size() + some.skips.tensors == all.names.size());
  for (const std::string& name : some.names) {
    // The shared embedding is the encoder's by another of its names.
    CHECK((name.starts_with("encoder.") || name == "lm_head.weight" || name == "shared.weight"));
  }
  for (const std::string& name : all.names) {
    const bool kept = std::ranges::find(some.names, name) != some.names.end();
    CHECK(kept == !name.starts_with("decoder."));
  }
}

TEST_CASE("A pattern that matches nothing is named", "[model]") {
  for (const std::string pattern : {"encoder.lost", "decoder", "", "LM_HEAD.weight", "*.inv_freq"}) {
    try {
      select("llama-tiny", {"*", pattern});
      FAIL_CHECK("accepted");
    } catch (const Error& error) {
      CHECK(error.code() == ErrorCode::empty_subset);
      CHECK(error.message().find("'" + pattern + "'") != std::string::npos);
    }
  }
}

}  // namespace
}  // namespace hfload
