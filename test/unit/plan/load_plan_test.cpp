#include "core/plan/load_plan.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "core/base/error.h"

namespace hfload {
namespace {

struct Sample {
  ModuleTree tree;
  Checkpoint checkpoint;
  KeyMatches keys;

  Sample& add(const std::string& name, uint32_t shard, uint64_t begin, Dtype from, Dtype to,
              uint64_t elements) {
    if (tree.modules.empty()) tree.add_module(kNoId, "", "");
    const auto id = static_cast<TensorId>(tree.tensors.size());
    ShellTensor shell;
    shell.name = name;
    shell.module = 0;
    shell.dtype = to;
    shell.shape = {elements};
    shell.object = id;
    tree.tensors.push_back(shell);
    CheckpointTensor source;
    source.name = name;
    source.shard = shard;
    source.described = true;
    source.dtype = from;
    source.shape = {elements};
    source.begin = begin;
    source.end = begin + tensor_bytes(from, source.shape).value_or(0);
    checkpoint.tensors.push_back(source);
    while (checkpoint.shards.size() <= shard) {
      checkpoint.shards.emplace_back();
      checkpoint.shards.back().data_start = 100 * checkpoint.shards.size();
    }
    keys.matches.push_back({id, id});
    return *this;
  }
};

template <class F>
ErrorCode code_of(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.code();
  }
  FAIL("no error");
  return ErrorCode::internal;
}

}  // namespace

TEST_CASE("copies are in file order, tensors aligned, the disk untouched", "[plan]") {
  Sample s;
  s.add("c", 1, 0, Dtype::f32, Dtype::f32, 10)
      .add("b", 0, 40, Dtype::f16, Dtype::f32, 3)
      .add("a", 0, 0, Dtype::f32, Dtype::bf16, 10);
  s.add("d", 1, 40, Dtype::f32, Dtype::bf16, 5);
  const DeviceMap map = {
      {"a", Device::gpu(0)}, {"b", Device::gpu(0)}, {"c", Device::cpu()}, {"d", Device::disk()}};
  const LoadPlan plan = make_load_plan(s.tree, s.checkpoint, s.keys, map, {{Device::gpu(0), 1e6}});
  REQUIRE(plan.copies.size() == 3);
  const auto copied = [&](size_t i) {
    return s.tree.tensors[plan.placements[plan.copies[i].placement].tensor].name;
  };
  CHECK(copied(0) == "a");
  CHECK(copied(1) == "b");
  CHECK(copied(2) == "c");
  CHECK(plan.copies[0].file_offset == 100);
  CHECK(plan.copies[1].file_offset == 140);
  CHECK(plan.copies[2].file_offset == 200);
  CHECK(plan.copied_file_bytes == 40 + 6 + 40);
  CHECK(plan.disk_bytes == 20);
  REQUIRE(plan.arenas.size() == 2);
  CHECK(plan.arenas[0].device == Device::gpu(0));
  // a: 10 bf16 at 0, b: 3 float32 at the next multiple of 256
  CHECK(plan.arenas[0].bytes == 256 + 12);
  for (const TensorPlacement& p : plan.placements) {
    if (p.device == Device::disk()) {
      CHECK(p.dtype == Dtype::f32);
      CHECK(p.arena_offset == 240);
    } else {
      CHECK(p.arena_offset % 256 == 0);
    }
  }
}

TEST_CASE("a tight budget packs tensors without padding, each aligned to its elements", "[plan]") {
  Sample s;
  s.add("a", 0, 0, Dtype::u8, Dtype::u8, 3)
      .add("b", 0, 3, Dtype::f16, Dtype::f16, 5)
      .add("c", 0, 13, Dtype::f32, Dtype::f32, 7);
  const DeviceMap map = {{"", Device::gpu(0)}};
  const LoadPlan plan = make_load_plan(s.tree, s.checkpoint, s.keys, map, {{Device::gpu(0), 3 + 10 + 28}});
  CHECK(plan.arenas[0].bytes == 41);
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const TensorPlacement& p : plan.placements) {
    CHECK(p.arena_offset % (dtype_info(p.dtype).bits / 8) == 0);
    ranges.emplace_back(p.arena_offset, p.arena_offset + p.bytes);
  }
  std::ranges::sort(ranges);
  CHECK(ranges[0].second == ranges[1].first);
  CHECK(ranges[1].second == ranges[2].first);
  CHECK(code_of([&] {
          make_load_plan(s.tree, s.checkpoint, s.keys, map, {{Device::gpu(0), 40}});
        }) == ErrorCode::does_not_fit);
}

TEST_CASE("conversions that do not exist are refused", "[plan]") {
  for (const auto& [from, to] : {std::pair{Dtype::f64, Dtype::f32},
                                 {Dtype::i32, Dtype::f16},
                                 {Dtype::f8_e4m3, Dtype::bf16},
                                 {Dtype::unknown, Dtype::f32}}) {
    Sample s;
    s.add("a", 0, 0, from, to, 4);
    CHECK(code_of([&] {
            make_load_plan(s.tree, s.checkpoint, s.keys, {{"", Device::cpu()}}, {});
          }) == ErrorCode::unsupported_dtype);
  }
}

TEST_CASE("empty tensors are placed and not copied", "[plan]") {
  Sample s;
  s.add("a", 0, 0, Dtype::f32, Dtype::f32, 0).add("b", 0, 0, Dtype::f32, Dtype::f32, 1);
  const LoadPlan plan = make_load_plan(s.tree, s.checkpoint, s.keys, {{"", Device::cpu()}}, {});
  CHECK(plan.placements.size() == 2);
  CHECK(plan.copies.size() == 1);
}

}  // namespace hfload
