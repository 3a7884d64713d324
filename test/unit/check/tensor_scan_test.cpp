#include "core/check/tensor_scan.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "core/base/interrupted.h"
#include "core/check/element_values.h"
#include "core/check/structure.h"
#include "core/check/tensor_diff.h"
#include "test/support/checkpoint_builder.h"
#include "test/support/temp_directory.h"

namespace hfload {
namespace {

Checkpoint open(const test::TempDirectory& root, const std::string& name) {
  return open_checkpoint(locate_model(root / name, {}));
}

}  // namespace

TEST_CASE("the edges of every small float are those of its specification", "[check]") {
  const auto e4m3 = value_table(Dtype::f8_e4m3);
  CHECK(e4m3[0x7E] == 448);  // OCP 8-bit floating point 1.0, table 1
  CHECK(std::isnan(e4m3[0x7F]));
  CHECK(e4m3[0x01] == std::ldexp(1.0, -9));
  const auto e5m2 = value_table(Dtype::f8_e5m2);
  CHECK(e5m2[0x7B] == 57344);
  CHECK(std::isinf(e5m2[0x7C]));
  CHECK(e5m2[0x01] == std::ldexp(1.0, -16));
  CHECK(std::isnan(value_table(Dtype::f8_e4m3fnuz)[0x80]));
  CHECK(value_table(Dtype::f8_e8m0)[0] == std::ldexp(1.0, -127));
  const auto f16 = value_table(Dtype::f16);
  CHECK(f16[0x7BFF] == 65504);
  CHECK(f16[0x8001] == -std::ldexp(1.0, -24));
  CHECK(value_table(Dtype::bf16)[0x3F80] == 1);
}

TEST_CASE("pieces cover every byte once and do not depend on threads", "[check]") {
  const std::vector<uint64_t> sizes = {0, 1, (uint64_t{4} << 20) + 1, uint64_t{1} << 40};
  std::vector<uint64_t> next(sizes.size());
  const std::vector<TensorPiece> pieces = cut_into_pieces(sizes.size(), [&](size_t i) { return sizes[i]; });
  CHECK(pieces.size() < 70'000);
  for (const TensorPiece& piece : pieces) {
    CHECK(piece.first_byte == next[piece.tensor]);
    CHECK(piece.first_byte % (4 << 20) == 0);
    next[piece.tensor] += piece.bytes;
  }
  CHECK(next == sizes);
}

TEST_CASE("an interrupted check stops", "[check]") {
  const test::TempDirectory root;
  root.write("a.safetensors", test::CheckpointBuilder().filled("a", "F32", {4}, 16).bytes());
  const Checkpoint checkpoint = open(root, "a.safetensors");
  const auto source = open_tensor_source(checkpoint);
  const CheckRun run{2, nullptr, [] { return true; }};
  CHECK_THROWS_AS(scan_tensors(checkpoint, *source, run), Interrupted);
  CHECK_THROWS_AS(diff_checkpoints(checkpoint, *source, checkpoint, *source, run), Interrupted);
}

TEST_CASE("shards that are not there are no error, and their tensors have no statistics", "[check]") {
  const test::TempDirectory root;
  root.write("a.safetensors", test::CheckpointBuilder().filled("a", "F32", {4}, 16).bytes());
  root.write("b.safetensors", "short");
  root.write(
      "model.safetensors.index.json",
      R"({"metadata": {}, "weight_map": {"a": "a.safetensors", "b": "b.safetensors", "c": "c.safetensors"}})");
  std::vector<Finding> findings;
  const Checkpoint checkpoint = open_damaged_checkpoint(locate_model(root.path(), {}), findings);
  REQUIRE(findings.size() == 2);
  CHECK(findings[0].code == "header_too_small");
  CHECK(findings[1].code == "shard_missing");
  CHECK(checkpoint.shards[1].damaged);
  CHECK_FALSE(checkpoint.complete());
  const auto source = open_tensor_source(checkpoint, AbsentShards::allow);
  const auto statistics = scan_tensors(checkpoint, *source, {});
  REQUIRE(statistics.size() == 3);
  CHECK(statistics[0].has_value());
  CHECK_FALSE(statistics[1].has_value());
  CHECK_FALSE(statistics[2].has_value());
  CHECK_THROWS_AS(open_checkpoint(locate_model(root.path(), {})), Error);
}

TEST_CASE("a tolerance is absolute, and NaN is near nothing", "[check]") {
  TensorDifference pair{.same_shape = true, .values = 3, .differing = 1, .max_absolute = 0.5};
  CHECK_FALSE(pair.within(0));
  CHECK_FALSE(pair.within(0.4));
  CHECK(pair.within(0.5));
  pair.nan_mismatches = 1;
  CHECK_FALSE(pair.within(10));
  pair = {.same_shape = false};
  CHECK_FALSE(pair.within(10));
}

}  // namespace hfload
