#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <optional>
#include <vector>

#include "core/model/module_builder.h"
#include "core/plan/cache.h"
#include "test/unit/plan/plan_fixtures.h"

/// Models of blocks that cache, planned, for the tests of caches.
namespace hfload::test {

/// A model of `layers` blocks of `weight` bytes, each with a cache of `cache` elements a token, between two
/// tensors of `ends` bytes.
inline ModuleTree blocks(uint64_t layers, uint64_t weight, uint64_t cache, uint64_t ends = 0,
                         uint64_t window = 0) {
  ModuleTree tree;
  ModuleBuilder b(tree, Dtype::u8, false);
  b.module("embed", "Embedding", [&] { b.parameter("weight", {ends}); });
  b.list("layers", layers, [&](uint64_t i) {
    b.module(index_name(i), "Block", [&] {
      b.parameter("weight", {weight});
      if (window > 0) {
        b.attention_cache(1, cache / 2, window);
      } else {
        b.latent_cache(cache);
      }
    });
  });
  b.module("head", "Linear", [&] { b.parameter("weight", {ends}); });
  b.finish();
  return tree;
}

struct Planned {
  std::vector<CacheBytes> caches;
  DevicePlan plan;
};

inline Planned plan_blocks(const ModuleTree& tree, const CacheOptions& options, const MaxMemory& memory,
                           Strategy strategy = Strategy::sequential) {
  Planned planned;
  planned.caches = cache_bytes(tree, options);
  ModuleSizes sizes = compute_module_sizes(tree, std::nullopt);
  add_cache_bytes(sizes, tree, planned.caches);
  PlanOptions plan_options;
  plan_options.no_split_modules = {"Block"};
  planned.plan = plan_with_caches(tree, planned.caches, memory, [&](const MaxMemory& m, bool caches_on_cpu) {
    plan_options.caches_on_cpu = caches_on_cpu;
    return plan_device_map(tree, sizes, m, strategy, true, plan_options);
  });
  return planned;
}

inline const DeviceUsage& usage(const DevicePlan& plan, Device device) {
  const auto it = std::ranges::find(plan.devices, device, &DeviceUsage::device);
  REQUIRE(it != plan.devices.end());
  return *it;
}

/// What must hold of any plan with caches: every cache is where its layer is executed, and within budgets.
inline void check_plan(const ModuleTree& tree, const Planned& planned, const MaxMemory& memory) {
  const DeviceMapLookup lookup(planned.plan.device_map);
  const Device main = main_device(planned.plan.device_map);
  const ModuleSizes weights = compute_module_sizes(tree, std::nullopt);
  std::map<Device, double> cached, placed;
  for (const CacheBytes& cache : planned.caches) {
    const Device* device = lookup.find(tree.module_name(cache.module));
    REQUIRE(device != nullptr);
    cached[device->is_gpu() ? *device : main] += static_cast<double>(cache.bytes);
  }
  for (TensorId t = 0; t < tree.tensors.size(); ++t)
    placed[*lookup.find(tree.tensor_name(t))] += weights.tensor_bytes[t];
  for (const DeviceUsage& u : planned.plan.devices) {
    INFO("device " << to_string(u.device));
    CHECK(u.cache_bytes == cached[u.device]);
    CHECK(u.used_bytes == placed[u.device]);
    const auto budget = std::ranges::find(memory, u.device, &DeviceMemory::device);
    if (u.device.kind != Device::Kind::disk && budget != memory.end())
      CHECK(u.used_bytes + u.cache_bytes <= budget->bytes);
  }
}

}  // namespace hfload::test
