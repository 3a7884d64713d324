#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <random>

#include "test/unit/plan/cached_blocks.h"

namespace hfload {
namespace {

using namespace test;

TEST_CASE("weights, caches and what is held back keep every budget, over random trees", "[plan]") {
  std::mt19937 random(11);
  const auto draw = [&](uint64_t least, uint64_t most) { return least + random() % (most - least + 1); };
  constexpr std::array kStrategies = {Strategy::sequential, Strategy::balanced_auto, Strategy::balanced,
                                      Strategy::balanced_low_0, Strategy::tight};
  size_t on_gpu = 0, offloaded = 0;
  for (int round = 0; round < 4000; ++round) {
    ModuleTree tree;
    ModuleBuilder b(tree, Dtype::u8, false);
    b.module("embed", "Embedding", [&] { b.parameter("weight", {draw(1, 120)}); });
    b.list("layers", draw(1, 9), [&](uint64_t i) {
      b.module(index_name(i), "Block", [&] {
        b.module("attention", "Attention", [&] {
          b.module("q", "Linear", [&] { b.parameter("weight", {draw(1, 60)}); });
          b.module("o", "Linear", [&] { b.parameter("weight", {draw(1, 60)}); });
          const uint64_t kind = draw(0, 3);
          if (kind == 0) b.attention_cache(draw(1, 3), draw(1, 3), draw(0, 6));
          if (kind == 1) b.latent_cache(draw(1, 9));
          if (kind == 2) b.state_cache(draw(1, 90));
        });
        b.module("mlp", "Mlp", [&] { b.parameter("weight", {draw(1, 90)}); });
      });
    });
    b.module("head", "Linear", [&] { b.parameter("weight", {draw(1, 120)}); });
    b.finish();
    MaxMemory memory;
    for (uint32_t gpu = 0, gpus = static_cast<uint32_t>(draw(1, 3)); gpu < gpus; ++gpu)
      memory.push_back({Device::gpu(gpu), static_cast<double>(draw(0, 900))});
    memory.push_back({Device::cpu(), static_cast<double>(draw(0, 1200))});
    const Strategy strategy = kStrategies[draw(0, kStrategies.size() - 1)];
    INFO("round " << round << ", strategy " << static_cast<int>(strategy));
    const Planned planned = plan_blocks(tree, {draw(1, 12), draw(1, 3), Dtype::u8}, memory, strategy);
    // The CPU takes what no GPU executes, whether or not it fits: the program refuses that (does_not_fit).
    if (!main_device(planned.plan.device_map).is_gpu()) continue;
    check_plan(tree, planned, memory);
    for (const DeviceUsage& u : planned.plan.devices) {
      if (u.device.kind == Device::Kind::disk) continue;
      INFO("device " << to_string(u.device));
      // A device too small for what it would hold back takes nothing; that is no overrun.
      if (u.used_bytes + u.cache_bytes > 0)
        CHECK(u.used_bytes + u.cache_bytes + u.reserved_bytes <= u.budget_bytes);
      const auto budget = std::ranges::find(memory, u.device, &DeviceMemory::device);
      CHECK(u.budget_bytes <= budget->bytes);
      offloaded += u.device == Device::cpu() && u.used_bytes > 0;
    }
    ++on_gpu;
  }
  CHECK(on_gpu > 500);
  CHECK(offloaded > 200);
}

TEST_CASE("a GPU without room for the caches of offloaded layers is no main device", "[plan]") {
  // The embedding has no bytes: a GPU of no budget would take it, and then have to execute all blocks.
  for (const Strategy strategy :
       {Strategy::sequential, Strategy::balanced_auto, Strategy::balanced_low_0, Strategy::tight}) {
    INFO("strategy " << static_cast<int>(strategy));
    const ModuleTree tree = blocks(10, 100, 40);
    const MaxMemory memory = {{Device::gpu(0), 90}, {Device::gpu(1), 900}, {Device::cpu(), 100000}};
    const Planned planned = plan_blocks(tree, {10, 1, Dtype::u8}, memory, strategy);
    check_plan(tree, planned, memory);
    CHECK(main_device(planned.plan.device_map) == Device::cpu());
    for (const DeviceMemory& m : memory) CHECK(usage(planned.plan, m.device).budget_bytes <= m.bytes);
    CHECK(usage(planned.plan, Device::cpu()).cache_bytes == 4000);
  }
}

}  // namespace
}  // namespace hfload
